#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""litellm_suite.py URL: litellm, which many tools speak through, against a server of models/demo."""
import json
import sys
import urllib.request

import litellm

from cases import case, finish

NAME = json.load(urllib.request.urlopen(sys.argv[1] + "/v1/models"))["data"][0]["id"]
USER = [{"role": "user", "content": "What is 3 + 4?"}]
OPENAI = {"model": "openai/" + NAME, "api_base": sys.argv[1] + "/v1", "api_key": "none", "messages": USER, "temperature": 0}
VLLM = {**OPENAI, "model": "hosted_vllm/" + NAME}
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}

for who in (OPENAI, VLLM):
    @case("chat as " + who["model"])
    def _():
        r = litellm.completion(**who)
        assert r.choices[0].message.content == "7" and r.usage.total_tokens > 0
        assert r.choices[0].message.reasoning_content

    @case("stream as " + who["model"])
    def _():
        parts = [c.choices[0].delta.content or "" for c in litellm.completion(**who, stream=True)]
        assert "".join(parts) == "7"

    @case("tools as " + who["model"])
    def _():
        r = litellm.completion(**who, tools=[ADD], tool_choice="required", max_tokens=200)
        assert isinstance(json.loads(r.choices[0].message.tool_calls[0].function.arguments)["a"], int)

    @case("schema as " + who["model"])
    def _():
        r = litellm.completion(**who, max_tokens=200, response_format={"type": "json_schema", "json_schema": {
            "name": "r", "schema": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}})
        assert isinstance(json.loads(r.choices[0].message.content)["x"], int)


@case("text completion")
def _():
    r = litellm.text_completion(model="text-completion-openai/" + NAME, api_base=OPENAI["api_base"], api_key="none", prompt="Mia has", max_tokens=4)
    assert r.choices[0].text


@case("anthropic's messages")
def _():
    r = litellm.completion(model="anthropic/" + NAME, api_base=sys.argv[1], api_key="none", messages=USER, temperature=0, max_tokens=200)
    assert r.choices[0].message.content.strip() == "7"


@case("errors")
def _():
    try:
        litellm.completion(**{**OPENAI, "temperature": 500})
        raise AssertionError("no error")
    except litellm.BadRequestError as e:
        assert "temperature" in str(e)


finish()
