#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""anthropic_suite.py URL: the official anthropic client against a server of models/demo."""
import json
import sys
import urllib.request

import anthropic
import pydantic

from cases import case, finish

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="none", max_retries=0)
MODEL = json.load(urllib.request.urlopen(sys.argv[1] + "/v1/models"))["data"][0]["id"]
USER = [{"role": "user", "content": "What is 3 + 4?"}]
ADD = {"name": "add", "description": "adds", "input_schema": {
    "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}}
ASK = {"model": MODEL, "max_tokens": 250, "messages": USER, "extra_body": {"temperature": 0}}


@case("a message")
def _():
    r = client.messages.create(**ASK)
    assert [b.type for b in r.content] == ["thinking", "text"] and r.content[1].text == "7"
    assert r.stop_reason == "end_turn" and r.usage.output_tokens > 0 and r._request_id is None or r.id


@case("streamed")
def _():
    with client.messages.stream(**ASK) as s:
        assert "".join(s.text_stream) == "7"
        m = s.get_final_message()
    assert m.stop_reason == "end_turn" and m.usage.output_tokens > 0 and m.content[0].thinking


@case("raw events")
def _():
    kinds = [e.type for e in client.messages.create(**ASK, stream=True)]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop" and "content_block_delta" in kinds


@case("system, stop sequences, limits")
def _():
    r = client.messages.create(**{**ASK, "system": "Be short.", "stop_sequences": ["write"]})
    assert r.stop_reason in ("stop_sequence", "end_turn")
    assert client.messages.create(**{**ASK, "max_tokens": 3}).stop_reason == "max_tokens"


@case("tools")
def _():
    r = client.messages.create(**ASK, tools=[ADD], tool_choice={"type": "tool", "name": "add"})
    use = next(b for b in r.content if b.type == "tool_use")
    assert r.stop_reason == "tool_use" and set(use.input) == {"a", "b"}
    r = client.messages.create(**{**ASK, "max_tokens": 5, "messages": USER + [
        {"role": "assistant", "content": r.content}, {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": use.id, "content": "7"}]}]}, tools=[ADD])
    assert r.content


@case("tools, streamed")
def _():
    with client.messages.stream(**ASK, tools=[ADD], tool_choice={"type": "any", "disable_parallel_tool_use": True}) as s:
        m = s.get_final_message()
    assert isinstance(next(b for b in m.content if b.type == "tool_use").input["a"], int)


@case("count_tokens")
def _():
    n = client.messages.count_tokens(model=MODEL, messages=USER).input_tokens
    u = client.messages.create(**{**ASK, "max_tokens": 1}).usage
    assert n == u.input_tokens + u.cache_read_input_tokens


@case("thinking")
def _():
    client.messages.create(**{**ASK, "max_tokens": 20}, thinking={"type": "disabled"})
    r = client.messages.create(**{**ASK, "max_tokens": 300}, thinking={"type": "enabled", "budget_tokens": 1024})
    assert r.content[0].type == "thinking"


@case("structured output")
def _():
    class Sum(pydantic.BaseModel):
        sum: int
        even: bool
    r = client.messages.parse(**{**ASK, "max_tokens": 300}, output_format=Sum)
    assert isinstance(r.parsed_output, Sum)


@case("errors are the client's own")
def _():
    for fields, kind in (({"extra_body": {"temperature": 500}}, anthropic.BadRequestError), ({"model": "x"}, anthropic.NotFoundError),
                         ({"extra_body": {"nonsense": 1}}, anthropic.BadRequestError)):
        try:
            client.messages.create(**{**ASK, **fields})
            raise AssertionError("no error")
        except kind as e:
            assert e.body["error"]["message"]


finish()
