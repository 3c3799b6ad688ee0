"""Any server that speaks OpenAI's chat completions, as a teacher: vLLM, a provider's router, OpenAI itself.

Guarantee: what is sent again is only what got no answer (connection lost or cut, time-out, 429, 5xx), with the
client's growing pauses and no more than `RETRIES` times; a question that the server does not take (too long for it)
is an answer of that kind, and not an error. The API key comes from the environment, and is in nothing that is
raised, stored or printed.
"""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from sgd_hf.core.errors import InputError, ServerError
from sgd_hf.corpus.teachers import CANARY, Ask, Completion, Question, Template

CONCURRENCY = 16
TIMEOUT_S = 300.0
"""seconds for one answer; a long one of a large model behind a queue takes minutes"""
RETRIES = 8
_HF_ROUTER = "router.huggingface.co"
_CANARY_SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [CANARY["word"]]}},
    "required": ["word"],
    "additionalProperties": False,
}
_CANARY_GRAMMAR = f'root ::= "{{\\"word\\": \\"{CANARY["word"]}\\"}}"'


class EndpointTeacher:
    """``base_url``: where the server is, with its ``/v1``; or a function whose context starts one and gives that URL
    (`sgd_hf.corpus.serving`). ``model`` is the server's name for it, and the teacher's; ``revision`` whatever else
    tells its weights apart. ``grammar``: the server is a vLLM, which takes a question's grammar."""

    def __init__(
        self,
        base_url: str | Callable[[], AbstractContextManager[str]],
        model: str,
        template: Template,
        *,
        revision: str = "",
        concurrency: int = CONCURRENCY,
        timeout_s: float = TIMEOUT_S,
        grammar: bool = False,
    ):
        if isinstance(base_url, str):
            _host(base_url)
        if concurrency < 1 or timeout_s <= 0:
            raise InputError("--concurrency must be at least 1, and --timeout more than 0 seconds.")
        self.name, self.revision, self.template = model, revision, template
        self.concurrency, self.timeout_s, self.grammar = concurrency, timeout_s, grammar
        self._base_url = base_url

    def canary(self, question: Question) -> Question:
        """A question like ``question`` whose answer the server would not hit upon without honouring schema or grammar;
        where there is neither, any question, for a server that refuses this one refuses them all."""
        where = _host(self._base_url) if isinstance(self._base_url, str) else "own server"
        messages = [{"role": "user", "content": "Is the sky blue? Answer as JSON with the key word: yes or no."}]
        asked = Question(f"canary {where}", 0, messages, max_tokens=64)
        if self.grammar and question.grammar:
            return replace(asked, grammar=_CANARY_GRAMMAR)
        return replace(asked, schema=_CANARY_SCHEMA) if question.schema else asked

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Ask]:
        import openai

        given = self._base_url
        with contextlib.nullcontext(given) if isinstance(given, str) else given() as base_url:
            host, key = _host(base_url), _key(base_url)
            limits = {"timeout": self.timeout_s, "max_retries": RETRIES}
            async with openai.AsyncOpenAI(base_url=base_url, api_key=key or "none", **limits) as client:

                async def ask(question: Question) -> Completion:
                    began, clock = time.time(), time.perf_counter()
                    try:
                        response = await client.chat.completions.create(**self.request(question))
                        completion = _completion(response)
                    except openai.APIStatusError as error:
                        completion = _refused(error, host, key, self.name)
                    except openai.APIConnectionError as error:
                        raise ServerError(f"{host} did not answer: {error.message.rstrip('.').lower()}, {RETRIES + 1} times.") from None
                    except (AttributeError, IndexError, TypeError, ValueError):  # a proxy's page, half a body, an error sent as success
                        raise ServerError(f"{host} answered with something else than a chat completion.") from None
                    return replace(completion, began=round(began, 3), seconds=round(time.perf_counter() - clock, 3))

                yield ask

    def request(self, question: Question) -> dict[str, Any]:
        """The arguments of the chat completion that puts a question to this server."""
        request: dict[str, Any] = {
            "model": self.name,
            "messages": question.messages,
            "max_tokens": question.max_tokens,
            "temperature": question.temperature,
            "seed": question.seed,
        }
        if self.grammar and question.grammar:
            request["extra_body"] = {"structured_outputs": {"grammar": question.grammar}}
        elif question.schema:
            schema = {"name": "answer", "schema": question.schema, "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request


def _completion(response: Any) -> Completion:
    choice, usage = response.choices[0], response.usage
    tokens = {}
    if usage:
        cached = getattr(usage.prompt_tokens_details, "cached_tokens", None) or 0
        tokens = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens, "cached_tokens": cached}
    text, finish = choice.message.content or "", choice.finish_reason or "none"
    if not isinstance(text, str):
        raise TypeError(type(text))
    text = text.encode("utf-8", "replace").decode()  # JSON can hold half a surrogate pair, and a file cannot
    return Completion(text, finish, response.model or "", **tokens)


def _refused(error: Any, host: str, key: str, model: str) -> Completion:
    """A question that this server will never take, as an answer; every other status raises."""
    said = _said(error)
    said = said.replace(key, "***") if key else said
    match error.status_code:
        case 400 | 413 | 422:
            return Completion(said, "refused", model)
        case 401 | 403:
            name = _key_name(host)
            raise InputError(f"{host} did not accept the key; put one that may use {model} into the environment variable {name}.")
        case 404:
            raise InputError(f"{host} knows no {model} or no chat completions ({said}); see --model, and that --base-url ends with /v1.")
    raise ServerError(f"{host} answered with status {error.status_code}: {said}.")


def _said(error: Any) -> str:
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(said or error.message).split())[:300].rstrip(".")


def _host(base_url: str) -> str:
    """Host and port; a URL that could hold a secret is refused, because it would be printed and stored."""
    try:
        parts = urlsplit(base_url)
        _ = parts.port  # read, it is checked
    except ValueError:  # half an IPv6 address, or a port that is none
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise InputError("--base-url takes http(s)://HOST[:PORT]/PATH, such as http://127.0.0.1:8000/v1, without a password or a query.")
    return parts.netloc


def _key_name(host: str) -> str:
    return "HF_TOKEN" if host.partition(":")[0] == _HF_ROUTER else "OPENAI_API_KEY"


def _key(base_url: str) -> str:
    """The key for this server; empty where none is set, because a server of one's own needs none."""
    host = _host(base_url)
    name = _key_name(host)
    key = os.environ.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"The key in {name} holds a character that no key has; copy it again.")
    if not key and name == "HF_TOKEN":
        raise InputError(f"{host} needs a token; put one into the environment variable HF_TOKEN.")
    return key
