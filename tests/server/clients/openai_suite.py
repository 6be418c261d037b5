#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""openai_suite.py URL: the official openai client against a server of models/demo."""
import asyncio
import json
import sys

import openai
import pydantic

from cases import case, finish

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
MODEL = client.models.list().data[0].id
USER = [{"role": "user", "content": "What is 3 + 4?"}]
ADD = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"],
    "additionalProperties": False}}}


class Sum(pydantic.BaseModel):
    sum: int
    even: bool


class Numbers(pydantic.BaseModel):
    values: list[int] = pydantic.Field(max_length=3)
    kind: str = pydantic.Field(pattern="^(odd|even)$")
    rest: Sum | None


@case("models")
def _():
    assert client.models.retrieve(MODEL).id == MODEL


@case("chat")
def _():
    r = client.chat.completions.create(model=MODEL, messages=USER, temperature=0)
    assert r.choices[0].message.content == "7" and r.choices[0].finish_reason == "stop"
    assert r.choices[0].message.reasoning_content and r.choices[0].message.reasoning
    assert r.usage.completion_tokens_details.reasoning_tokens > 0 and r.usage.prompt_tokens_details.cached_tokens >= 0
    assert r._request_id


@case("chat, streamed with usage")
def _():
    text, usage = "", None
    for chunk in client.chat.completions.create(model=MODEL, messages=USER, temperature=0, stream=True,
                                                stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for c in chunk.choices:
            text += c.delta.content or ""
    assert text == "7" and usage.completion_tokens > 0


@case("chat, the stream helper")
def _():
    with client.chat.completions.stream(model=MODEL, messages=USER, temperature=0) as s:
        for _ in s:
            pass
        assert s.get_final_completion().choices[0].message.content == "7"


@case("n, stop, seed, logprobs")
def _():
    r = client.chat.completions.create(model=MODEL, messages=USER, n=2, stop=["write"], seed=1, logprobs=True, top_logprobs=2,
                                       temperature=0)
    assert len(r.choices) == 2 and all(c.finish_reason == "stop" for c in r.choices)
    t = r.choices[0].logprobs.content[0]
    assert len(t.top_logprobs) == 2 and t.logprob <= 0 and bytes(t.bytes).decode() == t.token


@case("structured output")
def _():
    r = client.chat.completions.parse(model=MODEL, messages=USER, response_format=Sum, temperature=0, max_tokens=300)
    assert isinstance(r.choices[0].message.parsed, Sum)


@case("structured output, nested, sampled")
def _():
    for seed in range(3):
        r = client.chat.completions.parse(model=MODEL, messages=USER, response_format=Numbers, temperature=1.2, seed=seed, max_tokens=400)
        assert isinstance(r.choices[0].message.parsed, Numbers) and r.choices[0].message.parsed.kind in ("odd", "even")


@case("a JSON object")
def _():
    r = client.chat.completions.create(model=MODEL, messages=USER, response_format={"type": "json_object"}, temperature=0, max_tokens=400)
    if r.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(r.choices[0].message.content), dict)


@case("forced tool")
def _():
    for choice in ("required", {"type": "function", "function": {"name": "add"}}):
        r = client.chat.completions.create(model=MODEL, messages=USER, tools=[ADD], tool_choice=choice, temperature=0, max_tokens=200,
                                           parallel_tool_calls=False)
        call = r.choices[0].message.tool_calls[0]
        assert call.function.name == "add" and set(json.loads(call.function.arguments)) == {"a", "b"}
        assert r.choices[0].finish_reason == "tool_calls" and r.choices[0].message.content is None


@case("forced tool, streamed, then its result")
def _():
    args, name, call_id = "", None, None
    for chunk in client.chat.completions.create(model=MODEL, messages=USER, tools=[ADD], tool_choice="required", temperature=0,
                                                max_tokens=200, stream=True, parallel_tool_calls=False):
        for t in chunk.choices[0].delta.tool_calls or []:
            name, call_id = t.function.name or name, t.id or call_id
            args += t.function.arguments or ""
    assert name == "add" and isinstance(json.loads(args)["a"], int)
    r = client.chat.completions.create(model=MODEL, max_tokens=4, messages=USER + [
        {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": {"name": name, "arguments": args}}]},
        {"role": "tool", "tool_call_id": call_id, "content": "7"}])
    assert r.choices[0].finish_reason in ("stop", "length")


@case("tools by pydantic, strict")
def _():
    r = client.chat.completions.parse(model=MODEL, messages=USER, tools=[openai.pydantic_function_tool(Sum)], temperature=0,
                                      tool_choice="required", max_tokens=250)
    assert isinstance(r.choices[0].message.tool_calls[0].function.parsed_arguments, Sum)


@case("completions: texts, tokens, echo, logprobs")
def _():
    r = client.completions.create(model=MODEL, prompt=["Mia has", "Ben has"], max_tokens=5, temperature=0, echo=True, logprobs=2)
    assert [c.index for c in r.choices] == [0, 1] and r.choices[1].text.startswith("Ben has")
    assert r.choices[0].logprobs.token_logprobs[0] is None and len(r.choices[0].logprobs.tokens) >= 7
    text = "".join(c.choices[0].text for c in client.completions.create(model=MODEL, prompt="Mia has", max_tokens=5, temperature=0, stream=True))
    assert "Mia has" + text == r.choices[0].text


@case("responses")
def _():
    r = client.responses.create(model=MODEL, input="What is 3 + 4?", temperature=0)
    assert r.output_text == "7" and r.status == "completed" and r.usage.output_tokens_details.reasoning_tokens > 0


@case("responses, streamed")
def _():
    with client.responses.stream(model=MODEL, input="What is 3 + 4?", temperature=0) as s:
        deltas = "".join(e.delta for e in s if e.type == "response.output_text.delta")
        assert deltas == "7" and s.get_final_response().output_text == "7"


@case("responses, structured and with a tool")
def _():
    r = client.responses.parse(model=MODEL, input="What is 3 + 4?", text_format=Sum, temperature=0, max_output_tokens=300)
    assert isinstance(r.output_parsed, Sum)
    r = client.responses.create(model=MODEL, input="What is 3 + 4?", temperature=0, max_output_tokens=250, tool_choice="required",
                                parallel_tool_calls=False, tools=[{"type": "function", "name": "add", "strict": False, "parameters": ADD["function"]["parameters"]}])
    assert json.loads(next(o for o in r.output if o.type == "function_call").arguments)


@case("errors are the client's own")
def _():
    for fields, kind, param in (({"temperature": 500}, openai.BadRequestError, "temperature"), ({"model": "x"}, openai.NotFoundError, "model"),
                                ({"extra_body": {"nonsense": 1}}, openai.BadRequestError, "nonsense")):
        try:
            client.chat.completions.create(**{"model": MODEL, "messages": USER, **fields})
            raise AssertionError("no error")
        except kind as e:
            assert e.param == param, e.param


@case("vLLM's extra fields")
def _():
    r = client.chat.completions.create(model=MODEL, messages=USER, max_tokens=4, extra_body={
        "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": True, "chat_template_kwargs": {"enable_thinking": False}})
    assert r.usage.completion_tokens == 4


@case("a stream that is left")
def _():
    s = client.chat.completions.create(model=MODEL, messages=USER, max_tokens=300, stream=True, extra_body={"ignore_eos": True})
    next(iter(s))
    s.close()


@case("many at once")
def _():
    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0) as c:
            return await asyncio.gather(*(c.chat.completions.create(model=MODEL, temperature=0, messages=[
                {"role": "user", "content": f"What is {i} + 4?"}]) for i in range(16)))
    answers = asyncio.run(all_of_them())
    assert [int(a.choices[0].message.content) for a in answers] == [i + 4 for i in range(16)]


finish()
