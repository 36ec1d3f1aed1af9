/** The earlier service's flow, in its order and with its field names, in words of our own. */
import { call, check, KEY, URL_ } from "./_report.mjs";

const headers = { "x-api-key": KEY, "content-type": "application/json" };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function ask(method, path, body, more = {}) {
  const response = await fetch(`${URL_}${path}`, {
    method,
    headers: { ...headers, ...more },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return response.json();
}
const items = ["sora-2", "veo-flash", "veo-pro"].map((model) => ({
  prompt: "a paper boat",
  model,
  duration: 5,
  aspect_ratio: "9:16",
}));
const id = `order-${process.pid}-${Date.now()}`;
let batch;

await call("balance", async () => check((await ask("GET", "/api/v1/credits/balance")).available > 0, "credits"));
for (const path of ["/api/enterprise/video-batch", "/api/video/batch"])
  await call(`POST ${path}, sent twice with one x-request-id`, async () => {
    const more = { "x-request-id": `${id}${path.length}` };
    batch = await ask("POST", path, { items }, more);
    check(batch.ok && batch.total_count === 3, JSON.stringify(batch));
    const again = await ask("POST", path, { items }, more);
    check(again.batch_id === batch.batch_id && again.idempotent_replay, JSON.stringify(again));
  });
await call("poll the batch to its end", async () => {
  for (let n = 0; n < 300; n++) {
    const now = await ask("GET", `/api/v1/batches/${batch.batch_id}`);
    if (["succeeded", "partial", "failed", "cancelled"].includes(now.status)) {
      check(now.succeeded_count === 3 && now.failed_count === 0, JSON.stringify(now));
      return;
    }
    await sleep(200);
  }
  throw new Error("no end");
});
await call("items, with status=running", async () => {
  const all = await ask("GET", `/api/v1/batches/${batch.batch_id}/items?limit=10&offset=0`);
  check(all.items.length === 3 && all.items.every((item) => item.video_url), JSON.stringify(all));
  const running = await ask("GET", `/api/v1/batches/${batch.batch_id}/items?status=running`);
  check(running.ok && running.items.length === 0, JSON.stringify(running));
});
await call("ledger", async () => {
  const ledger = await ask("GET", `/api/v1/credits/ledger?batch_id=${batch.batch_id}`);
  check(ledger.entries.some((entry) => entry.type === "reserve"), JSON.stringify(ledger));
});
await call("cancel", async () => {
  const made = await ask("POST", "/api/v1/batches", { items });
  const cancelled = await ask("POST", `/api/v1/batches/${made.batch_id}/cancel`);
  check(cancelled.ok && cancelled.credits_refunded >= 0, JSON.stringify(cancelled));
});
await call("POST /api/internal/batch-worker", async () => {
  const tick = await ask("POST", "/api/internal/batch-worker", undefined, {
    "x-worker-secret": process.env.WORKER_SECRET,
  });
  check(tick.ok && tick.dispatch, JSON.stringify(tick));
});
