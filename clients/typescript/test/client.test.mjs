/** The client against a running service: `npm test` with SERVICE_URL and SERVICE_KEY set. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir } from "node:fs/promises";
import { createHmac } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Client, RushesError, WebhookNotVerified, verifyWebhook } from "../dist/index.js";

const client = new Client(process.env.SERVICE_URL, process.env.SERVICE_KEY);

test("create, watch, list items, download", async () => {
  const made = await client.createBatch({ items: [{ prompt: "a boat" }, { prompt: "a kite", model: "veo-flash" }] });
  const types = [];
  for await (const event of client.watch(made.batch_id)) types.push(event.type);
  assert.equal(types.at(-1), "batch.succeeded");
  assert.equal(types.filter((type) => type === "video.succeeded").length, 2);
  const items = [];
  for await (const item of client.items(made.batch_id)) items.push(item);
  assert.deepEqual(items.map((item) => item.index), [0, 1]);
  const folder = await mkdtemp(join(tmpdir(), "rushes-"));
  await client.downloadTo(items[0].item_id, join(folder, "0.mp4"));
  assert.equal((await readFile(join(folder, "0.mp4"))).subarray(4, 8).toString(), "ftyp");
  assert.deepEqual(await readdir(folder), ["0.mp4"]);
  assert.equal((await client.wait(made.batch_id)).status, "succeeded");
});

test("the same request_id is the same batch, also when the first answer was lost", async () => {
  let lost = 0;
  const losing = new Client(process.env.SERVICE_URL, process.env.SERVICE_KEY, {
    fetch: async (url, init) => {
      const answer = await fetch(url, init);
      if (init.method === "POST" && lost++ === 0) throw new TypeError("the answer was lost");
      return answer;
    },
  });
  const before = (await client.balance()).available;
  const made = await losing.createBatch({ items: [{ prompt: "a boat" }] });
  assert.equal(made.idempotent_replay, true);
  assert.equal(lost, 2);
  await client.wait(made.batch_id);
  assert.equal((await client.balance()).available, before - made.required_credits);
});

test("a broken stream is resumed where it broke", async () => {
  const made = await client.createBatch({ items: [{ prompt: "a" }, { prompt: "b" }, { prompt: "c" }] });
  await client.wait(made.batch_id);
  const all = [];
  for await (const event of client.watch(made.batch_id)) all.push(event.type);
  let streams = 0;
  const breaking = new Client(process.env.SERVICE_URL, process.env.SERVICE_KEY, {
    fetch: async (url, init) => {
      const answer = await fetch(url, init);
      if (!String(url).endsWith("/events") || streams++ > 0) return answer;
      const text = await answer.text();
      const cut = text.slice(0, text.indexOf("\n\n") + 2 + 20); // one event, and a piece of the next
      return new Response(cut, { status: 200 });
    },
  });
  const seen = [];
  for await (const event of breaking.watch(made.batch_id)) seen.push(event.type);
  assert.deepEqual(seen, all);
  assert.ok(streams >= 2);
});

test("a refusal has its code, its field and its request id, and is not sent again", async () => {
  let asked = 0;
  const counting = new Client(process.env.SERVICE_URL, process.env.SERVICE_KEY, {
    fetch: (url, init) => (asked++, fetch(url, init)),
  });
  await assert.rejects(
    counting.createBatch({ items: [{ prompt: "a boat", model: "sora-9" }] }),
    (error) =>
      error instanceof RushesError &&
      error.status === 422 &&
      error.code === "UNKNOWN_MODEL" &&
      error.field === "items[0].model" &&
      error.requestId.startsWith("req_"),
  );
  assert.equal(asked, 1);
  await assert.rejects(client.download("video_0"), (error) => error.code === "NOT_FOUND");
});

test("webhooks are verified, and what is not the service's is refused", () => {
  const secret = `whsec_${Buffer.from("0123456789abcdef0123456789abcdef").toString("base64")}`;
  const key = Buffer.from(secret.slice(6), "base64");
  const [body, sentAt] = ['{"type":"batch.succeeded"}', String(Math.floor(Date.now() / 1000))];
  const signature = `v1,${createHmac("sha256", key).update(`msg_1.${sentAt}.${body}`).digest("base64")}`;
  const headers = { "webhook-id": "msg_1", "webhook-timestamp": sentAt, "webhook-signature": `v1,AAAA ${signature}` };
  assert.equal(verifyWebhook(secret, headers, body).type, "batch.succeeded");
  assert.equal(verifyWebhook(secret, new Headers(headers), new TextEncoder().encode(body)).type, "batch.succeeded");
  for (const [changed, text] of [
    [{}, '{"type":"batch.failed"}'],
    [{ "webhook-id": "msg_2" }, body],
    [{ "webhook-timestamp": String(Number(sentAt) - 600) }, body],
    [{ "webhook-signature": "v1,AAAA" }, body],
    [{ "webhook-signature": undefined }, body],
  ])
    assert.throws(() => verifyWebhook(secret, { ...headers, ...changed }, text), WebhookNotVerified);
});
