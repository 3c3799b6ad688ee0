"""The interface of `sgd_hf.agent.decoder.Decoder` on vLLM, which has its own batching and its own prefix cache.

Guarantee: vLLM reads the very tokens that the transformers decoder would read. A restricted answer is one of the given
strings (structured outputs), and a forbidden one is written anew from the next likeliest first token. vLLM's numbers
differ from transformers' in the last digits, and so may an answer that hangs on them.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from sgd_hf.agent.decoding import GREEDY, Decoding
from sgd_hf.agent.policy import Ask
from sgd_hf.core.errors import InputError
from sgd_hf.core.prompts import Message

MAX_NEW_TOKENS = 64
ALTERNATIVES = 5
"""first tokens that are known beside the one that was chosen"""


class VLLMDecoder:
    """A checkpoint in vLLM; ``memory`` is its share of the GPU's."""

    together = True

    def __init__(self, folder: str | Path, decoding: Decoding = GREEDY, memory: float = 0.45):
        try:
            from vllm import LLM
        except ImportError:
            raise InputError("--backend vllm needs vLLM, which is not installed; install it as its documentation says.") from None
        if decoding.beams > 1:
            raise InputError("--beams is of the transformers backend; leave out --backend vllm.")
        self.decoding = decoding
        self.digest = _digest(Path(folder))
        self._model = LLM(model=str(folder), enable_prefix_caching=True, gpu_memory_utilization=memory)
        self._tokenizer = self._model.get_tokenizer()

    def write(
        self, messages: Sequence[Message], among: Sequence[str] = (), never: str = "", slot: int = 0, draw: Random | None = None
    ) -> str:
        """As `Decoder.write`; ``slot`` has no meaning here."""
        return self.write_many([Ask("", list(messages), tuple(among), never)], [draw])[0]

    def write_many(self, asks: Sequence[Ask], draws: Sequence[Random | None] = ()) -> list[str]:
        """As `Decoder.write_many`."""
        prompts = [self._tokenizer.apply_chat_template(ask.messages, add_generation_prompt=True, return_dict=False) for ask in asks]
        params = [self._params(ask, draw) for ask, draw in zip(asks, draws or [None] * len(asks), strict=True)]
        outputs = [found.outputs[0] for found in self._generate(prompts, params)]
        return [
            self._another(prompt, ask, param, output) if ask.never and output.text.strip() == ask.never else output.text.strip()
            for prompt, ask, param, output in zip(prompts, asks, params, outputs, strict=True)
        ]

    def _another(self, prompt: list[int], ask: Ask, params: Any, output: Any) -> str:
        """The answer from the likeliest other first token that does not lead to the same words again."""
        known = output.logprobs[0]
        for token in sorted(known.keys() - {output.token_ids[0]}, key=lambda token: -known[token].logprob):
            [found] = self._generate([[*prompt, token]], [params])
            answer = (self._tokenizer.decode([token]) + found.outputs[0].text).strip()
            if answer != ask.never:
                return answer
        return ""

    def _params(self, ask: Ask, draw: Random | None) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        sampled = self.decoding.temperature if not ask.among else 0.0
        return SamplingParams(
            temperature=sampled,
            seed=draw.getrandbits(31) if draw and sampled else None,
            max_tokens=MAX_NEW_TOKENS,
            stop_token_ids=[self._tokenizer.convert_tokens_to_ids("<|im_end|>")],
            logprobs=ALTERNATIVES if ask.never else None,
            structured_outputs=StructuredOutputsParams(choice=list(ask.among)) if ask.among else None,
        )

    def _generate(self, prompts: list[list[int]], params: list[Any]) -> list[Any]:
        return self._model.generate([{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False)


def _digest(folder: Path) -> str:
    """12 hex digits that stand for the weights' files; not those of `Decoder.digest`, which reads the tensors."""
    content = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        content.update(path.read_bytes())
    return content.hexdigest()[:12]
