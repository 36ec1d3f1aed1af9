/** OpenAI's SDK for Node, as it comes. */
import OpenAI, { toFile } from "openai";
import { call, check, KEY, URL_ } from "./_report.mjs";

const client = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: KEY, maxRetries: 0 });
const door = new OpenAI({ baseURL: `${URL_}/openai/v1`, apiKey: KEY, maxRetries: 0 });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let video;

await call("models.list", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  check(ids.includes("sora-2"), ids);
});
await call("models.retrieve", async () => check((await client.models.retrieve("sora-2")).owned_by === "grsai", "owner"));
await call("videos.create, videos.retrieve", async () => {
  video = await client.videos.create({ model: "sora-2", prompt: "a boat", seconds: "8", size: "720x1280" });
  for (let n = 0; n < 300 && !["completed", "failed"].includes(video.status); n++) {
    await sleep(200);
    video = await client.videos.retrieve(video.id);
  }
  check(video.status === "completed", video.status);
});
await call("videos.list", async () => {
  const page = await client.videos.list({ limit: 1 });
  check(page.data[0].id === video.id, page.data[0]?.id);
});
await call("videos.downloadContent", async () => {
  const bytes = Buffer.from(await (await client.videos.downloadContent(video.id)).arrayBuffer());
  check(bytes.subarray(4, 8).toString() === "ftyp", "an mp4");
});
await call("a refusal says why", async () => {
  try {
    await client.videos.create({ model: "sora-2", prompt: "a boat", seconds: "99" });
  } catch (error) {
    check(error instanceof OpenAI.UnprocessableEntityError, error.name);
    check(error.message.includes("at most 15 seconds"), error.message);
    check(error.code === "INVALID_INPUT" && error.param === "seconds", error.code);
    return;
  }
  throw new Error("it was taken");
});
await call("videos.delete", async () => check((await client.videos.delete(video.id)).deleted, "deleted"));
await call("files.create, batches.create, files.content", async () => {
  const lines = [0, 1].map((n) =>
    JSON.stringify({ custom_id: `r-${n}`, method: "POST", url: "/v1/videos", body: { prompt: `kite ${n}` } }),
  );
  const file = await door.files.create({ file: await toFile(Buffer.from(lines.join("\n")), "requests.jsonl"), purpose: "batch" });
  let batch = await door.batches.create({ input_file_id: file.id, endpoint: "/v1/videos", completion_window: "24h" });
  for (let n = 0; n < 300 && batch.status !== "completed"; n++) {
    await sleep(200);
    batch = await door.batches.retrieve(batch.id);
  }
  const text = await (await door.files.content(batch.output_file_id)).text();
  const ids = text.trim().split("\n").map((line) => JSON.parse(line).custom_id);
  check(ids.join() === "r-0,r-1", ids);
});
