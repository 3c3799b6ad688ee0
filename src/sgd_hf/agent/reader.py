"""One pass over a causal model's weights for many conversations, of each of which the keys and values are kept.

Guarantee: a conversation gets the logits that it would get alone and read anew, up to rounding, whatever is read beside it.
Of what is given only the part after the longest prefix that its slot has read is computed. On a CPU a pass costs what it takes
to move the weights through memory, and a few tokens more in it next to nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface, AttentionMaskInterface, Cache, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sgd_hf.core.errors import CheckpointError

BESIDE = "sgd_beside"
"""the name of our attention in transformers"""


class Feed(NamedTuple):
    """A conversation so far, whole, and the slot that keeps what is read of it; logits are wanted after its ``last`` tokens."""

    tokens: list[int]
    slot: int
    last: int = 1


@dataclass
class Slot:
    """What was read: tokens, and a pair of each layer's keys and values (1, heads, room, width), with room for more."""

    tokens: list[int] = field(default_factory=list)
    layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def keep(self, layer: int, known: int, *new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The layer's keys and values once ``new`` ones follow the first ``known``: views of what is kept."""
        length = known + new[0].shape[2]
        kept = self.layers.get(layer, new)
        if layer not in self.layers or kept[0].shape[2] < length:
            roomy = tuple(part.new_empty(*part.shape[:2], 2 * length, part.shape[3]) for part in new)
            for part, old in zip(roomy, kept, strict=True):
                part[:, :, :known] = old[:, :, :known]
            kept = self.layers[layer] = roomy
        for part, more in zip(kept, new, strict=True):
            part[:, :, known:length] = more
        return tuple(part[:, :, :length] for part in kept)


@dataclass
class Part:
    """One conversation of a pass, of which ``known`` tokens were read; the next ``count`` are those from ``first`` on in the pass."""

    slot: Slot
    known: int
    first: int
    count: int
    masks: dict[int | None, torch.Tensor | None] = field(default_factory=dict)
    """by window: the same in every layer that has it"""

    def seen(self, window: int | None, device: torch.device) -> torch.Tensor | None:
        """`mask`, made once a pass."""
        if window not in self.masks:
            self.masks[window] = self.mask(window, device)
        return self.masks[window]

    def mask(self, window: int | None, device: torch.device) -> torch.Tensor | None:
        """Which keys (known + count) each token (count) sees; None where it is all, or the lower half of a square."""
        length = self.known + self.count
        windowed = window is not None and window < length
        if not windowed and (self.count == 1 or not self.known):
            return None
        seen = torch.ones(1, 1, self.count, length, dtype=torch.bool, device=device).tril(self.known)
        return seen.triu(self.known - window + 1) if windowed else seen


class Beside(Cache):
    """The parts of a pass, as the layers of a model know their cache."""

    def __init__(self, parts: Sequence[Part]):
        super().__init__(layers=[])
        self.parts = parts

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[list, list]:
        seen = []
        for part in self.parts:
            mine = slice(part.first, part.first + part.count)
            seen.append((part, mine, part.slot.keep(layer_idx, part.known, key_states[:, :, mine], value_states[:, :, mine])))
        return seen, seen


def _attend(module: Any, query: torch.Tensor, key: Any, value: Any, attention_mask: Any, **options: Any) -> tuple[torch.Tensor, None]:
    """transformers' own attention, one conversation after the other; of a usual cache, as it is."""
    if isinstance(key, torch.Tensor):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    window = options.get("sliding_window")
    heard = [
        sdpa_attention_forward(module, query[:, :, mine], *kept, part.seen(window, query.device), **options)[0] for part, mine, kept in key
    ]
    return torch.cat(heard, dim=1), None


AttentionInterface.register(BESIDE, _attend)
AttentionMaskInterface.register(BESIDE, sdpa_mask)


class Reader:
    """A causal model with what it has read, by slots. Raises `CheckpointError` for a model with layers that are no attention."""

    def __init__(self, model: Any):
        other = set(getattr(model.config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
        if other:
            raise CheckpointError(
                f"A {model.config.model_type} has layers of {min(other)}, which cannot go back in what they have read; "
                "train a student whose layers are attention only."
            )
        self.model = model
        self._slots: dict[int, Slot] = defaultdict(Slot)
        model.set_attn_implementation(BESIDE)

    @torch.inference_mode()
    def read(self, feeds: Sequence[Feed]) -> list[torch.Tensor]:
        """Logits (last, vocabulary) for each feed, in single precision; no two feeds may have one slot."""
        device = self.model.device
        parts, new, wanted = [], [], []
        for feed in feeds:
            slot = self._slots[feed.slot]
            known, limit = 0, min(len(slot.tokens), len(feed.tokens) - feed.last)
            while known < limit and slot.tokens[known] == feed.tokens[known]:
                known += 1
            del slot.tokens[known:]  # what follows is overwritten now, and counts as read when it has been
            parts.append(Part(slot, known, len(new), len(feed.tokens) - known))
            new += feed.tokens[known:]
            wanted += range(len(new) - feed.last, len(new))
        places = [place for part in parts for place in range(part.known, part.known + part.count)]
        given = {"position_ids": torch.tensor([places], device=device), "logits_to_keep": torch.tensor(wanted, device=device)}
        # A mask of four dimensions is taken as it is, and nobody looks at this one: each conversation has its own.
        given |= {"attention_mask": torch.empty(1, 1, 1, 1, device=device), "cache": Beside(parts), "use_cache": True}
        logits = self.model(torch.tensor([new], device=device), **given).logits[0].float()
        for part, feed in zip(parts, feeds, strict=True):
            part.slot.tokens = list(feed.tokens)
        return list(logits.split([feed.last for feed in feeds]))

    def cache(self, slot: int) -> DynamicCache:
        """A copy of what the slot has read, for a search that goes on from it."""
        cache, read = DynamicCache(config=self.model.config), self._slots[slot]
        for layer, kept in read.layers.items():
            cache.update(*(part[:, :, : len(read.tokens)].clone() for part in kept), layer)
        return cache
