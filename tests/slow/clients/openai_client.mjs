// What a program with the openai package for Node does with our server; the URL is its argument.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "any" });
const messages = [{ role: "user", content: "hi there" }];
const model = "base";

const listed = [];
for await (const one of await client.models.list()) listed.push(one.id);
assert.equal(listed[0], "base");
assert.equal((await client.models.retrieve("base")).id, "base");

const answer = await client.chat.completions.create({ model, messages });
assert.equal(answer.choices[0].message.content, "base: hi there");
assert.equal(answer.usage.total_tokens, 5);

const stream = await client.chat.completions.create({
  model, messages, stream: true, stream_options: { include_usage: true }, logprobs: true, top_logprobs: 1,
});
let text = "", usage = null, tokens = [];
for await (const part of stream) {
  text += part.choices[0]?.delta?.content ?? "";
  tokens.push(...(part.choices[0]?.logprobs?.content ?? []));
  usage = part.usage ?? usage;
}
assert.equal(text, "base: hi there");
assert.equal(usage.completion_tokens, 3);
assert.deepEqual(tokens.map((one) => one.token), ["base:", " hi", " there"]);

let given = null;
const tool = {
  type: "function",
  function: {
    name: "f", description: "d", parameters: { type: "object", properties: {} },
    parse: JSON.parse, function: (args) => { given = args; return "forty two"; },
  },
};
for (const streamed of [false, true]) {
  const runner = client.chat.completions.runTools({
    model, stream: streamed, messages: [{ role: "user", content: 'call f {"a": 1}' }], tools: [tool],
  });
  assert.equal(await runner.finalContent(), "base: forty two");
  assert.deepEqual(given, { a: 1 });
  given = null;
}

const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"], additionalProperties: false };
const formed = await client.chat.completions.parse({
  model, messages, response_format: { type: "json_schema", json_schema: { name: "n", strict: true, schema } },
});
assert.deepEqual(formed.choices[0].message.parsed ?? JSON.parse(formed.choices[0].message.content), { name: "" });

const vector = await client.embeddings.create({ model, input: "a b" });
assert.deepEqual([...vector.data[0].embedding], [3, 1]);
assert.equal((await client.completions.create({ model, prompt: "once" })).choices[0].text, "base: once");
await assert.rejects(client.chat.completions.create({ model, messages, n: 0 }), (error) => error.status === 400 && error.param === "n");

const cut = await client.chat.completions.create({ model, messages, stream: true });
for await (const part of cut) break;
console.log("all well");
