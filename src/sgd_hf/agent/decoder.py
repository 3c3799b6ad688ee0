"""Text from a causal language model, one conversation after another, re-reading nothing it has read.

Guarantee: an answer is a pure function of the checkpoint and the messages (greedy); in each slot the keys and
values of the longest common prefix with its last conversation are kept, so that a further turn costs its own
tokens only.
A restricted answer (`among`) is one of the given strings, decoded token by token along their trie.
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils import logging

from sgd_hf.core.errors import CheckpointError
from sgd_hf.core.prompts import Message

MAX_NEW_TOKENS = 64

logging.disable_progress_bar()  # "Loading weights", once for each module


class Decoder:
    """A checkpoint and its tokenizer, with a cache for each slot: an episode under way."""

    def __init__(self, model, tokenizer):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self._stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self._slots: dict[int, tuple[list[int], DynamicCache]] = {}

    @functools.cached_property
    def digest(self) -> str:
        """12 hex digits that stand for the weights."""
        content = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            content.update(name.encode() + tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return content.hexdigest()[:12]

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None) -> "Decoder":
        """A causal checkpoint from a folder or the Hub; safetensors only, no code of its own."""
        options = {"revision": revision, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, **options)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(
                f"{source} is not a causal checkpoint that can be loaded ({reason}); give a folder that `sgd train` wrote."
            ) from None
        if "{%- generation -%}" not in (tokenizer.chat_template or ""):
            raise CheckpointError(
                f"{source} was not trained by sgd-hf (its chat template is another); give a folder that `sgd train` wrote."
            )
        return cls(model, tokenizer)

    @torch.inference_mode()
    def write(self, messages: Sequence[Message], among: Sequence[str] = (), never: str = "", slot: int = 0) -> str:
        """The answer to a conversation that ends with the user's turn, without its end mark.

        ``among``: the only answers allowed. ``never``: an answer whose first token is ruled out if it would be given.
        """
        prompt = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=False)
        if among:
            return self._along([[*self._tokens(text), self._stop] for text in among], prompt, slot)
        answer = self._free(prompt, slot)
        if never and answer == never:
            answer = self._free(prompt, slot, barred=self._tokens(never)[0])
        return answer

    def _free(self, prompt: list[int], slot: int, barred: int | None = None) -> str:
        logits = self._feed(prompt, slot)
        if barred is not None:
            logits[barred] = -torch.inf
        written: list[int] = []
        while len(written) < MAX_NEW_TOKENS:
            token = int(logits.argmax())
            if token == self._stop:
                break
            written.append(token)
            logits = self._feed([*prompt, *written], slot)
        return self.tokenizer.decode(written).strip()

    def _along(self, paths: list[list[int]], prompt: list[int], slot: int) -> str:
        written: list[int] = []
        while True:
            allowed = sorted({path[len(written)] for path in paths if path[: len(written)] == written})
            token = allowed[0]
            if len(allowed) > 1:
                logits = self._feed([*prompt, *written], slot)
                token = allowed[int(logits[allowed].argmax())]
            if token == self._stop:
                return self.tokenizer.decode(written).strip()
            written.append(token)

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _feed(self, tokens: list[int], slot: int) -> torch.Tensor:
        """Logits (vocabulary,) after the last token; computes only the tokens after the longest prefix in the slot."""
        read, cache = self._slots.get(slot) or ([], DynamicCache(config=self.model.config))
        shared = 0
        limit = min(len(read), len(tokens) - 1)
        while shared < limit and read[shared] == tokens[shared]:
            shared += 1
        if shared < len(read):
            cache.crop(shared - len(read))  # a negative number is what to remove
        new = torch.tensor([tokens[shared:]], device=self.model.device)
        output = self.model(new, past_key_values=cache, use_cache=True, logits_to_keep=1)
        self._slots[slot] = (tokens, cache)
        return output.logits[0, -1].float()
