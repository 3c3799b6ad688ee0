"""The interface of `sgd_hf.agent.decoder.Decoder` on a vLLM server: its own batching, its own prefix cache, its own process.

Guarantee: vLLM reads the very tokens that `Decoder` would read, sent as numbers, and its tokens are turned into text by
the same tokenizer. A restricted answer (`among`) is one of the given strings, chosen along the same trie; where an answer would be the forbidden
one (`never`), its first token is ruled out as in `Decoder`. All questions of a batch are open at once. vLLM's numbers
differ from transformers' in the last digits, and so may an answer that hangs on them.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import snapshot_download

from sgd_hf.agent.agent import Load
from sgd_hf.agent.decoding import GREEDY, MAX_NEW_TOKENS, Decoding, Writing, branches, write_out
from sgd_hf.agent.policy import Ask
from sgd_hf.core.errors import CheckpointError, InputError, ServerError
from sgd_hf.core.safety import CHECKPOINT, refuse_unsafe, weights_digest

ALTERNATIVES = 20
"""likeliest first tokens that the server names; more it does not"""
CONTEXT = 8192
"""tokens that a server makes room for, if the model has as many: more than any prompt's"""


class Served:
    """A checkpoint that the server at ``url`` answers for under ``model``; ``tokenizer`` is that of the checkpoint."""

    together = True

    def __init__(self, url: str, model: str, tokenizer: Any, digest: str, decoding: Decoding = GREEDY):
        from openai import AsyncOpenAI

        self.decoding = decoding
        self.digest = digest
        self.tokenizer = tokenizer
        self._model = model
        self._url = url
        self._stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self._client = AsyncOpenAI(base_url=url, api_key="none")
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """Let go of the connections; the server is not this object's."""
        self._runner.run(self._client.close())
        self._runner.close()

    def write(self, ask: Ask, slot: int = 0, draw: Random | None = None) -> str:
        """As `Decoder.write`; ``slot`` has no meaning here. Raises `ServerError` if the server does not answer."""
        return self.write_many([ask], [draw])[0]

    def write_many(self, asks: Sequence[Ask], draws: Sequence[Random | None] = ()) -> list[str]:
        """As `Decoder.write_many`."""
        # Drawn here and in order, so that an answer does not depend on which question the server takes first.
        seeds = [draw.getrandbits(31) if draw else 0 for draw in draws or [None] * len(asks)]
        return self._runner.run(_all([self._answer(ask, seed) for ask, seed in zip(asks, seeds, strict=True)]))

    def advance(self, writings: Sequence[Writing]) -> None:
        """As `Decoder.advance`: to the end, for vLLM goes from pass to pass by itself."""
        write_out(writings, self.write_many)

    async def _answer(self, ask: Ask, seed: int) -> str:
        prompt = self.tokenizer.apply_chat_template(list(ask.messages), add_generation_prompt=True, return_dict=False)
        if ask.among:
            return self._said(await self._along(prompt, ask.among))
        if ask.pattern:
            written, _ = await self._complete(prompt, {"temperature": 0.0}, structured_outputs={"regex": ask.pattern})
            return self._said(written)
        drawn = {"temperature": self.decoding.temperature, "seed": seed}
        written, likely = await self._complete(prompt, {**drawn, "logprobs": ALTERNATIVES if ask.never else None})
        answer = self._said(written)
        others = iter([token for token in likely if token not in written[:1]] if ask.never else [])
        while ask.never and answer == ask.never and (token := next(others, None)) is not None:
            if token == self._stop:
                return ""
            rest, _ = await self._complete([*prompt, token], {**drawn, "max_tokens": MAX_NEW_TOKENS - 1})
            answer = self._said([token, *rest])
        return answer

    async def _along(self, prompt: list[int], among: Sequence[str]) -> list[int]:
        """A request for each fork of the strings' tokens: a grammar would also admit other tokens for the same strings, and
        the likeliest of those leads to another string."""
        paths = [[*self.tokenizer(text, add_special_tokens=False)["input_ids"], self._stop] for text in among]
        written: list[int] = []
        while (allowed := branches(paths, written)) != [self._stop]:
            if len(allowed) == 1:
                written.append(allowed[0])
                continue
            found, _ = await self._complete([*prompt, *written], {"temperature": 0.0, "max_tokens": 1}, allowed_token_ids=allowed)
            if not found:
                break
            written += found
        return written

    async def _complete(self, prompt: list[int], options: dict[str, Any], **more: Any) -> tuple[list[int], list[int]]:
        """The tokens written, without the end mark, and with ``logprobs`` the likeliest first tokens, likeliest first."""
        from openai import APIError

        ends = {"stop_token_ids": [self._stop], "ignore_eos": True}  # only our end mark ends an answer
        extra = {**ends, "return_token_ids": True, "return_tokens_as_token_ids": True, **more}
        options = {"max_tokens": MAX_NEW_TOKENS, **options}
        try:
            reply = await self._client.completions.create(model=self._model, prompt=prompt, extra_body=extra, **options)
        except APIError as error:
            reason = " ".join(str(error).split())[:200]
            raise ServerError(
                f"The model server at {self._url} gave no answer ({reason}); see its log and repeat the command, which resumes."
            ) from None
        [choice] = reply.choices
        tokens = [token for token in choice.token_ids if token != self._stop]
        first = choice.logprobs.top_logprobs[0] if options.get("logprobs") else {}
        return tokens, [int(name.removeprefix("token_id:")) for name in sorted(first, key=first.get, reverse=True)]

    def _said(self, written: list[int]) -> str:
        return self.tokenizer.decode(written).strip()


@contextmanager
def backend(name: str) -> Iterator[Load | None]:
    """What loads checkpoints: None for transformers, which is everybody's default; for ``vllm`` a function that starts
    a server for each checkpoint, all of which are gone when the context ends."""
    if name == "transformers":
        yield None
        return
    with ExitStack() as stack:

        def load(source: str | Path, revision: str | None, decoding: Decoding) -> Served:
            try:
                return stack.enter_context(_serve(source, revision, decoding))
            except (OSError, ValueError) as error:  # as the libraries have it
                reason = str(error).strip().split("\n")[0]
                raise CheckpointError(
                    f"{source} is not a checkpoint that can be loaded ({reason}); give a folder that `sgd train` wrote."
                ) from None

        yield load


@contextmanager
def _serve(source: str | Path, revision: str | None, decoding: Decoding) -> Iterator[Served]:
    from transformers import AutoConfig, AutoTokenizer

    from sgd_hf.corpus.serving import has_gpu, serving

    if decoding.beams > 1:
        raise InputError("--beams is of the transformers backend; leave out --backend vllm, or decode greedily.")
    folder = Path(source) if Path(source).is_dir() else Path(snapshot_download(str(source), revision=revision, allow_patterns=CHECKPOINT))
    refuse_unsafe(folder)
    with _whole(folder) as model:
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        if config.is_encoder_decoder:
            raise InputError(f"vLLM does not run encoder-decoder models such as {source}; leave out --backend vllm.")
        flags = {
            "--load-format": "safetensors",
            "--generation-config": "vllm",  # the sampling that a checkpoint proposes for itself is not the agent's
            "--dtype": str(config.dtype or "auto").removeprefix("torch."),  # else vLLM would play float32 in half precision
            "--max-model-len": str(min(CONTEXT, getattr(config, "max_position_embeddings", CONTEXT))),
            # Planner and executor share a GPU, and each server would take nine tenths of it.
            **({"--gpu-memory-utilization": "0.45"} if has_gpu() else {}),
        }
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        with serving(str(model), flags=[word for flag in flags.items() for word in flag]) as url:
            served = Served(url, str(model), tokenizer, f"{weights_digest(folder)}-vllm", decoding)
            try:
                yield served
            finally:
                served.close()


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A checkpoint that a server can load: an adapter is merged into its base first, as for `Decoder`."""
    if not (folder / "adapter_config.json").exists():
        yield folder
        return
    from sgd_hf.agent.loading import load

    with TemporaryDirectory(prefix="sgd-hf-") as merged:
        for part in load(folder):
            part.save_pretrained(merged)
        yield Path(merged)


async def _all(answers: Iterable[Coroutine[Any, Any, str]]) -> list[str]:
    return await asyncio.gather(*answers)
