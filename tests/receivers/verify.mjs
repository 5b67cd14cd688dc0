// Says of each delivery on standard input whether a library from npm takes it for genuine.

import { readFileSync } from "node:fs";
import { verify } from "@octokit/webhooks-methods";
import { Webhooks } from "@octokit/webhooks";
import { HTTP } from "cloudevents";
import { Webhook } from "standardwebhooks";

const VERIFIERS = {
  async octokit({ headers, body, secret }) {
    const webhooks = new Webhooks({ secret });
    let heard = null;
    webhooks.onAny((event) => { heard = event; });
    await webhooks.verifyAndReceive({
      id: headers["x-github-delivery"],
      name: headers["x-github-event"],
      signature: headers["x-hub-signature-256"],
      payload: body,
    });
    return { id: heard.id, name: heard.name, ref: heard.payload.ref };
  },
  async "octokit-methods"({ headers, body, secret }) {
    if (!(await verify(secret, body, headers["x-hub-signature-256"]))) throw new Error("not genuine");
    return {};
  },
  async standard({ headers, body, secret, raw }) {
    const webhook = raw ? new Webhook(secret, { format: "raw" }) : new Webhook(secret);
    const said = webhook.verify(body, headers);
    return { id: headers["webhook-id"], ref: said.ref };
  },
  async cloudevents({ headers, body }) {
    const event = HTTP.toEvent({ headers, body });
    event.validate();
    return { id: event.id, type: event.type, source: event.source, ref: event.data.ref };
  },
};

const said = [];
for (const check of JSON.parse(readFileSync(0, "utf-8"))) {
  try {
    said.push({ taken: true, ...(await VERIFIERS[check.by](check)) });
  } catch (error) {
    said.push({ taken: false, error: String(error) });
  }
}
console.log(JSON.stringify(said));
