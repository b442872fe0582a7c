"""What a program with litellm does with our server; run in an environment that has it, with the URL as argument."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the internet for prices

import litellm  # type: ignore[import-not-found]

URL = f"{sys.argv[1]}/v1"
WHERE = {"model": "openai/base", "api_base": URL, "api_key": "any"}
USER = [{"role": "user", "content": "hi there"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

litellm.suppress_debug_info = True
answer = litellm.completion(messages=USER, **WHERE)
assert answer.choices[0].message.content == "base: hi there"
assert answer.usage.total_tokens == 5

parts = list(litellm.completion(messages=USER, stream=True, stream_options={"include_usage": True}, **WHERE))
assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == "base: hi there"
assert parts[-1].usage.total_tokens == 5

chat = [{"role": "user", "content": 'call f {"a": 1}'}]
for stream in (False, True):
    called = litellm.completion(messages=chat, tools=[TOOL], stream=stream, **WHERE)
    called = litellm.stream_chunk_builder(list(called)) if stream else called
    assert called.choices[0].finish_reason == "tool_calls"
    [call] = called.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("f", {"a": 1})
result = {"role": "tool", "tool_call_id": call.id, "content": "42"}
after = litellm.completion(messages=[*chat, called.choices[0].message.model_dump(), result], tools=[TOOL], **WHERE)
assert after.choices[0].message.content == "base: 42"

form = {"type": "json_schema", "json_schema": {"name": "n", "schema": FORM}}
assert json.loads(litellm.completion(messages=USER, response_format=form, **WHERE).choices[0].message.content) == {"name": ""}

chances = litellm.completion(messages=USER, logprobs=True, top_logprobs=2, **WHERE).choices[0].logprobs.content
assert [token.token for token in chances] == ["base:", " hi", " there"]

thought = litellm.completion(messages=USER, extra_body={"enable_thinking": True}, **WHERE).choices[0].message
assert thought.reasoning_content == "I was asked: hi there"
assert litellm.embedding(input=["a b"], **WHERE).data[0]["embedding"] == [3.0, 1.0]
try:
    litellm.completion(messages=USER, logit_bias={"1": 1}, **WHERE)
except litellm.BadRequestError as error:
    assert "does not compute" in str(error)
else:
    raise AssertionError("what the engine lacks was answered")
print("all well")
