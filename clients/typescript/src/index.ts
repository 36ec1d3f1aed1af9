/** A client of a rushes service. The key goes to the service's own address and nowhere else. */

import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { components } from "./schema.js";

type Schemas = components["schemas"];
export type NewBatch = Schemas["NewBatch"];
/** A quote is asked for with the same body. */
export type Quote = NewBatch;
export type AcceptedBatch = Schemas["AcceptedBatch"];
export type Batch = Schemas["Batch"];
export type Item = Schemas["Item"];
export type Balance = Schemas["Balance"];
export type QuoteAnswer = Schemas["QuoteAnswer"];
export type CancelledBatch = Schemas["CancelledBatch"];
export type RetriedItem = Schemas["RetriedItem"];
export type Event = Schemas["Event"];

const TRIES_MAX = 4;
const RETRY_SECONDS_FIRST = 0.25;
const RETRY_SECONDS_MAX = 60;
const ITEMS_PAGE = 500;
const EVENT_CHARACTERS_MAX = 1024 * 1024;

/** A refusal: what the service says, with the code to act on. */
export class RushesError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly field: string | undefined,
    readonly requestId: string | undefined,
    readonly retryAfterSeconds: number | undefined,
    readonly facts: Record<string, unknown>,
  ) {
    super(message);
    this.name = "RushesError";
  }

  /** Whether the same request may be sent again. */
  get retryable(): boolean {
    return [429, 502, 503, 504].includes(this.status);
  }
}

export interface ClientOptions {
  /** For tests and proxies; the global `fetch` otherwise. */
  fetch?: typeof fetch;
  triesMax?: number;
}

export class Client {
  private readonly base: string;
  private readonly fetch: typeof fetch;
  private readonly triesMax: number;

  constructor(
    baseUrl: string,
    private readonly apiKey: string,
    options: ClientOptions = {},
  ) {
    this.base = baseUrl.replace(/\/+$/, "").replace(/\/v1$/, "");
    this.fetch = options.fetch ?? globalThis.fetch;
    this.triesMax = options.triesMax ?? TRIES_MAX;
  }

  /** Reserve the credits and accept the batch; a repeat with the same `request_id` is the same batch. */
  createBatch(batch: NewBatch): Promise<AcceptedBatch> {
    const named = { ...batch, request_id: batch.request_id ?? randomUUID() };
    return this.ask("POST", "/v1/batches", { body: named, repeatable: true });
  }

  /** What the batch would cost; writes nothing. */
  quote(batch: Quote): Promise<QuoteAnswer> {
    return this.ask("POST", "/v1/quotes", { body: batch, repeatable: true });
  }

  batch(batchId: string): Promise<Batch> {
    return this.ask("GET", `/v1/batches/${encodeURIComponent(batchId)}`, { repeatable: true });
  }

  balance(): Promise<Balance> {
    return this.ask("GET", "/v1/credits/balance", { repeatable: true });
  }

  cancel(batchId: string): Promise<CancelledBatch> {
    return this.ask("POST", `/v1/batches/${encodeURIComponent(batchId)}/cancel`, {});
  }

  retry(batchId: string, item: string | number): Promise<RetriedItem> {
    const path = `/v1/batches/${encodeURIComponent(batchId)}/items/${encodeURIComponent(item)}/retry`;
    return this.ask("POST", path, {});
  }

  /** All items in their order, a page at a time. */
  async *items(batchId: string, filter: { status?: Item["status"] } = {}): AsyncGenerator<Item> {
    for (let offset = 0; ; offset += ITEMS_PAGE) {
      const query = new URLSearchParams({ ...filter, limit: String(ITEMS_PAGE), offset: String(offset) });
      const path = `/v1/batches/${encodeURIComponent(batchId)}/items?${query}`;
      const page: Schemas["ItemPage"] = await this.ask("GET", path, { repeatable: true });
      yield* page.items;
      if (page.items.length < ITEMS_PAGE) return;
    }
  }

  /** The batch's events to its end; a stream that breaks is resumed after the last event seen. */
  async *watch(batchId: string, lastEventId = ""): AsyncGenerator<Event> {
    let failures = 0;
    for (;;) {
      try {
        const response = await this.send("GET", `/v1/batches/${encodeURIComponent(batchId)}/events`, {
          headers: lastEventId ? { "last-event-id": lastEventId } : {},
        });
        if (response.status === 204) return;
        for await (const frame of framesOf(response)) {
          lastEventId = frame.id || lastEventId;
          failures = 0;
          yield JSON.parse(frame.data) as Event;
        }
        if ((await this.batch(batchId)).completed_at !== null) failures = 0;
      } catch (error) {
        if (error instanceof RushesError && !error.retryable) throw error;
        if (++failures >= this.triesMax) throw error;
      }
      await pause(failures);
    }
  }

  /** The batch at its end. */
  async wait(batchId: string): Promise<Batch> {
    for await (const _ of this.watch(batchId));
    return this.batch(batchId);
  }

  /** A video's bytes, by a video's or an item's id. */
  download(videoId: string): Promise<Response> {
    return this.send("GET", `/v1/videos/${encodeURIComponent(videoId)}/content`, {});
  }

  /** The same into a file, which is there whole or not at all. */
  async downloadTo(videoId: string, path: string): Promise<void> {
    const response = await this.download(videoId);
    const partial = `${path}.${randomUUID()}.part`;
    try {
      if (response.body === null) throw new Error("the answer has no body");
      await pipeline(Readable.fromWeb(response.body as never), createWriteStream(partial));
      await rename(partial, path);
    } finally {
      await rm(partial, { force: true });
    }
  }

  private async ask<T>(method: string, path: string, options: { body?: unknown; repeatable?: boolean }): Promise<T> {
    for (let failures = 0; ; ) {
      try {
        const response = await this.send(method, path, options);
        return (await response.json()) as T;
      } catch (error) {
        const isRefusal = error instanceof RushesError;
        if (!options.repeatable || ++failures >= this.triesMax || (isRefusal && !error.retryable)) throw error;
        const asked = isRefusal ? error.retryAfterSeconds : undefined;
        if (asked !== undefined && asked > RETRY_SECONDS_MAX) throw error;
        await pause(failures, asked);
      }
    }
  }

  private async send(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Record<string, string> },
  ): Promise<Response> {
    const headers: Record<string, string> = { "x-api-key": this.apiKey, ...options.headers };
    if (options.body !== undefined) headers["content-type"] = "application/json";
    const response = await this.fetch(this.base + path, {
      method,
      headers,
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    });
    if (response.status >= 400) throw await refusalOf(response);
    return response;
  }
}

async function refusalOf(response: Response): Promise<RushesError> {
  const text = await response.text();
  let document: Record<string, unknown> = {};
  try {
    document = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // from something in between
  }
  const said = document["error"];
  const code = typeof said === "object" && said !== null ? (said as { code?: unknown }).code : said;
  const wait = Number(response.headers.get("retry-after") ?? NaN);
  return new RushesError(
    response.status,
    typeof code === "string" ? code : "UNEXPECTED_ANSWER",
    typeof document["message"] === "string" ? document["message"] : `HTTP ${response.status}`,
    typeof document["field"] === "string" ? document["field"] : undefined,
    response.headers.get("x-request-id") ?? undefined,
    Number.isFinite(wait) ? wait : undefined,
    document,
  );
}

function pause(failures: number, askedSeconds?: number): Promise<void> {
  const doubled = Math.min(RETRY_SECONDS_FIRST * 2 ** Math.max(failures - 1, 0), RETRY_SECONDS_MAX);
  const seconds = (askedSeconds ?? 0) + doubled * (0.5 + 0.5 * Math.random());
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

/** Server-sent events, as the WHATWG's standard describes the format. */
async function* framesOf(response: Response): AsyncGenerator<{ id: string; data: string }> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  let rest = "";
  let id = "";
  let data: string[] = [];
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    rest += decoder.decode(chunk, { stream: true });
    if (rest.length > EVENT_CHARACTERS_MAX) throw new Error("an event that is too long");
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length) yield { id, data: data.join("\n") };
        data = [];
        continue;
      }
      const colon = line.indexOf(":");
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "data") data.push(value);
      else if (name === "id" && !value.includes("\0")) id = value;
    }
  }
}

/** What `verifyWebhook` throws. */
export class WebhookNotVerified extends Error {}

/**
 * The event of a webhook of this service (Standard Webhooks). `body` are the bytes as they came.
 * Throws `WebhookNotVerified` for a wrong signature, and for one older or newer than `toleranceSeconds`.
 */
export function verifyWebhook(
  secret: string,
  headers: Headers | Record<string, string | string[] | undefined>,
  body: string | Uint8Array,
  { toleranceSeconds = 300, now = () => Date.now() / 1000 } = {},
): Event {
  const header = (name: string): string => {
    const value = headers instanceof Headers ? headers.get(name) : headers[name];
    if (typeof value !== "string") throw new WebhookNotVerified(`the header ${name} is missing`);
    return value;
  };
  const [id, sentAt, signatures] = [header("webhook-id"), header("webhook-timestamp"), header("webhook-signature")];
  if (!/^[0-9]{1,12}$/.test(sentAt) || Math.abs(now() - Number(sentAt)) > toleranceSeconds)
    throw new WebhookNotVerified("the timestamp is too old, or too new");
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = createHmac("sha256", key).update(`${id}.${sentAt}.${text}`).digest();
  const isOurs = signatures.split(" ").some((each) => {
    const given = each.startsWith("v1,") ? Buffer.from(each.slice(3), "base64") : Buffer.alloc(0);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  if (!isOurs) throw new WebhookNotVerified("the signature is not this secret's");
  return JSON.parse(text) as Event;
}
