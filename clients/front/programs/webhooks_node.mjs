/** The libraries of Standard Webhooks and of Svix for Node, with what the service posted. */
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";
import { call, check } from "./_report.mjs";

const posted = JSON.parse(readFileSync(process.env.POSTED, "utf8"));
const secret = process.env.WEBHOOK_SECRET;
for (const [name, Kind] of [["standardwebhooks", Webhook], ["svix", SvixWebhook]]) {
  await call(`${name}: verify`, async () => {
    check(posted.length > 0, "webhooks came");
    for (const each of posted) new Kind(secret).verify(each.body, each.headers);
  });
  await call(`${name}: refuse a changed body`, async () => {
    try {
      new Kind(secret).verify("{}", posted[0].headers);
    } catch {
      return;
    }
    throw new Error("it was taken");
  });
}
