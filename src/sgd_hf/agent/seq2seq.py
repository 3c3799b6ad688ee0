"""Text from an encoder-decoder language model, with the interface of `Decoder`.

Guarantee: an answer is a pure function of the checkpoint and the messages, and where it is sampled of the draws too;
`write` is `write_many` of one, and the same up to ties in floating point. The encoder reads a prompt once, whatever
the width of the beam search. The prompt is the text that the student was trained on (`as_text`), never cut.
"""

from collections.abc import Callable, Sequence
from random import Random

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from sgd_hf.agent.decoder import Decoder
from sgd_hf.agent.decoding import GREEDY, MAX_NEW_TOKENS, Decoding, Writing
from sgd_hf.agent.policy import Ask
from sgd_hf.core.prompts import as_text

Change = Callable[[int, torch.Tensor, list[int]], torch.Tensor]
"""Other logits (vocabulary,) for a row, from these and from what was written so far."""


class Seq2SeqDecoder(Decoder):
    """A checkpoint and its tokenizer. It keeps nothing between two answers, so slots mean nothing to it."""

    together = True

    def __init__(self, model, tokenizer, decoding: Decoding = GREEDY):
        super().__init__(model, tokenizer, decoding)
        self._stop = tokenizer.eos_token_id

    def write(self, ask: Ask, slot: int = 0, draw: Random | None = None) -> str:
        """The answer to a conversation; see `Decoder.write`."""
        return self.write_many([ask], [draw])[0]

    def write_many(self, asks: Sequence[Ask], draws: Sequence[Random | None] = ()) -> list[str]:
        """`write` for several conversations in one batch, beam searches included."""
        return self._side_by_side(asks, draws)

    def _written(self, writings: Sequence[Writing]) -> list[list[int]]:
        wide = [self.decoding.beams > 1 and not (writing.ask.among or writing.ask.pattern) for writing in writings]
        both = list(zip(writings, wide, strict=True))
        searched = iter(self._searched([writing for writing, is_wide in both if is_wide]) if any(wide) else ())
        ruled = iter(self._ruled([writing for writing, is_wide in both if not is_wide]) if not all(wide) else ())
        return [next(searched if is_wide else ruled) for is_wide in wide]

    def _searched(self, writings: list[Writing]) -> list[list[int]]:
        """Beam search by mean log-probability a token, with some first tokens ruled out."""
        width = self.decoding.beams

        def bar(row: int, logits: torch.Tensor, so_far: list[int]) -> torch.Tensor:
            return logits if so_far else _filled(logits, writings[row // width].barred, -torch.inf)

        return self._generate(writings, bar, num_beams=width, length_penalty=1.0)

    def _ruled(self, writings: list[Writing]) -> list[list[int]]:
        """Token by token as each row's rule says; greedy where there is none."""
        rules = [self._rule(writing) for writing in writings]

        def choose(row: int, logits: torch.Tensor, so_far: list[int]) -> torch.Tensor:
            rule = rules[row]
            if rule is None or self._stop in so_far:
                return logits
            return _filled(torch.full_like(logits, -torch.inf), [rule(logits, so_far)], 0.0)

        return self._generate(writings, choose)

    def _generate(self, writings: list[Writing], change: Change, **search: float) -> list[list[int]]:
        """What each prompt is answered with, without start and end; greedy but for ``search``."""
        texts = [as_text(writing.ask.messages, self.tokenizer.eos_token) for writing in writings]
        given = self.tokenizer(texts, padding=True, return_tensors="pt").to(self.model.device)
        options = {"do_sample": False, "num_beams": 1, "max_new_tokens": MAX_NEW_TOKENS, **search}
        rows = self.model.generate(**given, logits_processor=LogitsProcessorList([_Changed(change)]), **options)[:, 1:].tolist()
        return [row[: row.index(self._stop)] if self._stop in row else row for row in rows]


class _Changed(LogitsProcessor):
    def __init__(self, change: Change):
        self._change = change

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        written = input_ids[:, 1:].tolist()
        return torch.stack([self._change(row, logits, written[row]) for row, logits in enumerate(scores)])


def _filled(logits: torch.Tensor, tokens: list[int], value: float) -> torch.Tensor:
    return logits.index_fill(0, torch.tensor(tokens, dtype=torch.long, device=logits.device), value)
