/** eventsource for Node, on a batch's events. */
import { EventSource } from "eventsource";
import { call, check, KEY, URL_ } from "./_report.mjs";

await call("eventsource: every event to the end", async () => {
  const made = await (
    await fetch(`${URL_}/v1/batches`, {
      method: "POST",
      headers: { "x-api-key": KEY, "content-type": "application/json" },
      body: JSON.stringify({ items: [{ prompt: "a" }] }),
    })
  ).json();
  const seen = await new Promise((resolve, reject) => {
    const types = [];
    const source = new EventSource(`${URL_}/v1/batches/${made.batch_id}/events`, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, "x-api-key": KEY } }),
    });
    const timer = setTimeout(() => reject(new Error(`no end after ${types}`)), 60_000);
    for (const type of ["batch.processing", "video.succeeded", "batch.succeeded"])
      source.addEventListener(type, (event) => {
        types.push(JSON.parse(event.data).type);
        if (type !== "batch.succeeded") return;
        clearTimeout(timer);
        source.close();
        resolve(types);
      });
  });
  check(seen.at(-1) === "batch.succeeded" && seen.includes("video.succeeded"), seen);
});
