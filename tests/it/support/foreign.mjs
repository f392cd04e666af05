// A client of Azure's own protocols that knows nothing of Annals: prints every property of every row of every
// table of an account, and every message of every queue, decoded where a client would decode it.
// Arguments: a connection string (AccountName, AccountKey, TableEndpoint, QueueEndpoint).
import { createHmac } from "node:crypto";

const parts = Object.fromEntries(
  process.argv[2].split(";").filter(Boolean).map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]),
);
const account = parts.AccountName;

const sign = (text) => createHmac("sha256", Buffer.from(parts.AccountKey, "base64")).update(text).digest("base64");
const lines = [];
const print = (...words) => lines.push(words.join(" "));

async function get(url, headers) {
  const answer = await fetch(url, { headers });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return answer;
}

async function table(path, query = "") {
  const date = new Date().toUTCString();
  const answer = await get(`${parts.TableEndpoint}/${path}${query}`, {
    Authorization: `SharedKeyLite ${account}:${sign(`${date}\n/${account}/${account}/${path}`)}`,
    "x-ms-date": date,
    "x-ms-version": "2019-02-02",
    Accept: "application/json;odata=fullmetadata",
  });
  return [(await answer.json()).value, answer.headers];
}

async function queue(path, query) {
  const date = new Date().toUTCString();
  const sorted = Object.keys(query).sort().map((name) => `\n${name}:${query[name]}`).join("");
  const named = `x-ms-date:${date}\nx-ms-version:2021-12-02\n`;
  const signature = sign(`GET${"\n".repeat(12)}${named}/${account}/${account}/${path}${sorted}`);
  const answer = await get(`${parts.QueueEndpoint}/${path}?${new URLSearchParams(query)}`, {
    Authorization: `SharedKey ${account}:${signature}`,
    "x-ms-date": date,
    "x-ms-version": "2021-12-02",
  });
  return answer.text();
}

const entities = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
const texts = (xml, element) =>
  [...xml.matchAll(new RegExp(`<${element}>([^<]*)</${element}>`, "g"))].map(([, text]) =>
    text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => entities[name]));
const decoded = (text) => Buffer.from(text, "base64").toString("utf8");

for (const { TableName: name } of (await table("Tables"))[0]) {
  print("table", name);
  let query = "";
  while (query !== undefined) {
    const [rows, headers] = await table(`${name}()`, query);
    for (const row of rows) {
      for (const [member, value] of Object.entries(row)) {
        const binary = row[`${member}@odata.type`] === "Edm.Binary";
        print(name, row.PartitionKey, row.RowKey, member, binary ? decoded(value) : value);
      }
    }
    const next = headers.get("x-ms-continuation-nextpartitionkey");
    const row = headers.get("x-ms-continuation-nextrowkey") ?? "";
    query = next === null ? undefined : `?${new URLSearchParams({ NextPartitionKey: next, NextRowKey: row })}`;
  }
}
for (const name of texts(await queue("", { comp: "list" }), "Name")) {
  print("queue", name);
  const messages = await queue(`${name}/messages`, { peekonly: "true", numofmessages: "32" });
  for (const text of texts(messages, "MessageText")) print(name, text, decoded(text));
}
process.stdout.write(`${lines.join("\n")}\n`);
