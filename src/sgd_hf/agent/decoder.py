"""Text from a causal language model, in one conversation or in many at once.

Guarantee: an answer is a pure function of the checkpoint and the messages, and where it is sampled of the draws too;
`write`, `advance` and `write_many` give the same, up to ties in floating point. `write` and `advance` re-read nothing:
in each slot the keys and values of the longest common prefix with its last conversation are kept, so that a further turn
costs its own tokens only; and what was answered to the same words before is read along with them as a guess, so that
an answer that comes again costs one pass over the weights. `advance` brings any number of answers one pass further, each
at its own place; `write_many` reads all prompts anew, together, which is the better bargain on a GPU, and what `advance`
does there.
A restricted answer (`among`) is one of the given strings, decoded greedily token by token along their trie.
"""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from random import Random

import regex
import torch
from transformers import DynamicCache
from transformers.utils import logging

from sgd_hf.agent.beams import search
from sgd_hf.agent.decoding import GREEDY, MAX_NEW_TOKENS, Decoding, Writing, branches, write_out
from sgd_hf.agent.loading import load
from sgd_hf.agent.policy import Ask
from sgd_hf.agent.reader import Feed, Reader
from sgd_hf.core.prompts import Message

GUESSES = 4096
"""questions, and last lines of questions, of which the answer is remembered; the one first met is the first to go"""
Rule = Callable[[torch.Tensor, list[int]], int]
"""The next token, from the logits (vocabulary,) and what was written so far."""
Course = Generator[Feed, torch.Tensor, list[int]]
"""How tokens come to be written: what has to be read next, and then the logits of it, until they are there."""

logging.disable_progress_bar()  # "Loading weights", once for each module


class Decoder:
    """A checkpoint and its tokenizer, with a cache for each slot: an episode under way."""

    def __init__(self, model, tokenizer, decoding: Decoding = GREEDY):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.decoding = decoding
        self._stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self._guesses: dict[str, list[int]] = {}

    @functools.cached_property
    def _reader(self) -> Reader:
        return Reader(self.model)

    @functools.cached_property
    def digest(self) -> str:
        """12 hex digits that stand for the weights, in whatever precision they were loaded."""
        content = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            content.update(name.encode() + tensor.float().cpu().contiguous().numpy().tobytes())
        return content.hexdigest()[:12]

    @property
    def together(self) -> bool:
        """Whether `write_many` is the faster way: on a GPU, where a batch costs what one costs."""
        return self.model.device.type != "cpu"

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None, decoding: Decoding = GREEDY) -> "Decoder":
        """A checkpoint from a folder or the Hub, of any kind that `sgd_hf.agent.loading.load` knows, as what decodes it."""
        from sgd_hf.agent.seq2seq import Seq2SeqDecoder

        model, tokenizer = load(source, revision)
        kind = Seq2SeqDecoder if model.config.is_encoder_decoder else Decoder
        return kind(model, tokenizer, decoding)

    def write(self, ask: Ask, slot: int = 0, draw: Random | None = None) -> str:
        """The answer to a conversation that ends with the user's turn, without its end mark.

        What an ask restricts is decoded greedily; where an answer would be the one that is never given, its first token
        is ruled out. ``draw``: the random numbers for sampling.
        """
        writing = Writing(ask, slot, draw)
        while writing.answer is None:
            self._pass([writing])
        return writing.answer

    def advance(self, writings: Sequence[Writing]) -> None:
        """Write on at each of these answers, of which no two may have one slot; those that are done then have their ``answer``."""
        if self.together:
            write_out(writings, self.write_many)
        else:
            self._pass(writings)

    @torch.inference_mode()
    def _pass(self, writings: Sequence[Writing]) -> None:
        """One pass over the weights for all of them, and none where there is nothing to read."""
        for writing in writings:
            if writing.course is None:
                writing.course = self._course(writing)
                _go_on(writing, None)
        reading = [writing for writing in writings if writing.answer is None]
        for writing, logits in zip(reading, self._reader.read([writing.awaits for writing in reading]) if reading else [], strict=True):
            _go_on(writing, logits)

    def _course(self, writing: Writing) -> Generator[Feed, torch.Tensor, None]:
        ask, slot, prompt = writing.ask, writing.slot, self._prompt(writing.ask.messages)
        question = ask.messages[-1]["content"]
        while writing.answer is None:
            if ask.among:
                written = yield from self._along(self._paths(ask.among), prompt, slot)
            elif ask.pattern:
                written = yield from self._free(prompt, slot, self._rule(writing), [])
            elif self.decoding.beams > 1:
                written = yield from self._widest(prompt, slot, writing.barred)
            else:
                written = yield from self._free(prompt, slot, self._rule(writing), self._guess(question))
                self._remember(question, written)
            self._take(writing, written)

    def write_many(self, asks: Sequence[Ask], draws: Sequence[Random | None] = ()) -> list[str]:
        """`write` for several conversations in one batch, padded on the left; beam searches run one by one."""
        return [self.write(ask) for ask in asks] if self.decoding.beams > 1 else self._side_by_side(asks, draws)

    @torch.inference_mode()
    def _side_by_side(self, asks: Sequence[Ask], draws: Sequence[Random | None]) -> list[str]:
        writings = [Writing(ask, draw=draw) for ask, draw in zip(asks, draws or [None] * len(asks), strict=True)]
        while owed := [writing for writing in writings if writing.answer is None]:
            for writing, written in zip(owed, self._written(owed), strict=True):
                self._take(writing, written)
        return [writing.answer for writing in writings]

    def _written(self, writings: Sequence[Writing]) -> list[list[int]]:
        """What each is answered with, read anew in one batch."""
        return self._batch([self._prompt(writing.ask.messages) for writing in writings], [self._rule(writing) for writing in writings])

    def _take(self, writing: Writing, written: list[int]) -> None:
        """What was written is the answer, unless that is never given: then its first token is ruled out."""
        said = self._said(written)
        if said and said == writing.ask.never:
            writing.barred.append(written[0])
        else:
            writing.answer = said

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        return self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=False)

    def _said(self, written: list[int]) -> str:
        return self.tokenizer.decode(written).strip()

    def _rule(self, writing: Writing) -> Rule | None:
        if writing.ask.among:
            return self._along_rule(writing.ask.among)
        return self._matching_rule(writing.ask.pattern) if writing.ask.pattern else self._free_rule(writing.barred, writing.draw)

    def _free_rule(self, barred: list[int], draw: Random | None) -> Rule | None:
        """None where it is the greedy choice."""
        if not barred and not self.decoding.temperature:
            return None

        def choose(logits: torch.Tensor, written: list[int]) -> int:
            if barred and not written:
                logits = logits.index_fill(0, torch.tensor(barred, device=logits.device), -torch.inf)
            return _sampled(logits / self.decoding.temperature, draw) if self.decoding.temperature else int(logits.argmax())

        return choose

    def _along_rule(self, among: Sequence[str]) -> Rule:
        paths = self._paths(among)

        def choose(logits: torch.Tensor, written: list[int]) -> int:
            allowed = branches(paths, written)
            return allowed[int(logits[allowed].argmax())]

        return choose

    def _guess(self, question: str) -> list[int]:
        """What was last written after the same question, or else after one with the same last line."""
        return self._guesses.get(question) or self._guesses.get(question.rpartition("\n")[2], [])

    def _remember(self, question: str, written: list[int]) -> None:
        self._guesses |= {question: written, question.rpartition("\n")[2]: written}
        while len(self._guesses) > GUESSES:
            del self._guesses[next(iter(self._guesses))]

    def _matching_rule(self, pattern: str) -> Rule:
        """The likeliest token with which the answer matches the pattern, or begins to."""
        matcher = regex.compile(pattern)

        def choose(logits: torch.Tensor, written: list[int]) -> int:
            for token in logits.argsort(descending=True).tolist():
                if token == self._stop:
                    fits = matcher.fullmatch(self.tokenizer.decode(written))
                else:
                    fits = matcher.fullmatch(self.tokenizer.decode([*written, token]), partial=True)
                if fits:
                    return token
            return self._stop

        return choose

    def _free(self, prompt: list[int], slot: int, rule: Rule | None, guess: list[int]) -> Course:
        """The guess is read together with the prompt, and each of its tokens is kept only where the rule chooses it."""
        written: list[int] = []
        while len(written) < MAX_NEW_TOKENS:
            ahead = guess[len(written) : MAX_NEW_TOKENS - 1] if guess[: len(written)] == written else []
            read = yield Feed([*prompt, *written, *ahead], slot, len(ahead) + 1)
            for logits, guessed in zip(read, [*ahead, None], strict=True):
                token = rule(logits, written) if rule else int(logits.argmax())
                if token == self._stop:
                    return written
                written.append(token)
                if token != guessed:
                    break
        return written

    def _along(self, paths: list[list[int]], prompt: list[int], slot: int) -> Course:
        written: list[int] = []
        while True:
            allowed = branches(paths, written)
            token = allowed[0]
            if len(allowed) > 1:
                [logits] = yield Feed([*prompt, *written], slot)
                token = allowed[int(logits[allowed].argmax())]
            if token == self._stop:
                return written
            written.append(token)

    def _widest(self, prompt: list[int], slot: int, barred: list[int]) -> Course:
        logits = yield Feed(prompt, slot)
        logits[0, barred] = -torch.inf
        return search(self.model, self._reader.cache(slot), logits.log_softmax(-1), self.decoding.beams, self._stop)

    def _batch(self, prompts: list[list[int]], rules: list[Rule | None]) -> list[list[int]]:
        """What each prompt is answered with under its rule. A row that has ended is fed its end mark until all have."""
        longest, device = max(map(len, prompts)), self.model.device
        tokens = torch.tensor([[self._stop] * (longest - len(prompt)) + prompt for prompt in prompts], device=device)
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.model.config)
        written: list[list[int]] = [[] for _ in prompts]
        going = set(range(len(prompts)))
        while True:
            given = {"attention_mask": mask, "position_ids": places, "cache": cache}
            logits = self.model(tokens, **given, use_cache=True, logits_to_keep=1).logits[:, -1].float()
            likeliest = logits.argmax(-1).tolist()
            for row in sorted(going):
                rule = rules[row]
                token = rule(logits[row], written[row]) if rule else likeliest[row]
                if token != self._stop:
                    written[row].append(token)
                if token == self._stop or len(written[row]) == MAX_NEW_TOKENS:
                    going.remove(row)
            if not going:
                return written
            tokens = torch.tensor([[written[row][-1] if row in going else self._stop] for row in range(len(prompts))], device=device)
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
            places = places[:, -1:] + 1

    def _paths(self, among: Sequence[str]) -> list[list[int]]:
        return [[*self._tokens(text), self._stop] for text in among]

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def _go_on(writing: Writing, logits: torch.Tensor | None) -> None:
    with contextlib.suppress(StopIteration):  # it has its answer
        writing.awaits = writing.course.send(logits)


def _sampled(logits: torch.Tensor, draw: Random | None) -> int:
    """A token drawn with its probability; `draw` gives the only random number."""
    heights = logits.double().softmax(-1).cumsum(-1)
    height = (draw or Random(0)).random() * float(heights[-1])
    return min(int((heights <= height).sum()), len(heights) - 1)
