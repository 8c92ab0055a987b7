// A SCIM client on Node's fetch: `node client.mjs BASE TOKEN STEPS`; see test_clients.py for steps and answers.
import { readFileSync } from "node:fs";

const [base, token, steps] = process.argv.slice(2);
let id = "";
for (const line of readFileSync(steps, "utf8").split("\n").filter(Boolean)) {
  const [method, path, body, framing] = line.split("\t");
  const headers = { Authorization: `Bearer ${token}` };
  const options = { method, headers };
  if (body) {
    headers["Content-Type"] = "application/scim+json";
    options.body = body;
    if (framing === "chunked") {
      options.duplex = "half";
      options.body = new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(body));
          controller.close();
        },
      });
    }
  }
  const answer = await fetch(base + path.replace("{id}", id), options);
  const content = Buffer.from(await answer.arrayBuffer());
  const found = method === "POST" && content.toString().match(/"id"\s*:\s*"([^"]+)"/);
  if (found) id = found[1];
  const shown = ["content-type", "location", "etag"].map((name) => answer.headers.get(name) ?? "");
  console.log([answer.status, ...shown, content.toString("base64")].join("\t"));
}
