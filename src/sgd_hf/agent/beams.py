"""Beam search over a causal model that has read a prompt.

Guarantee: a pure function of the model and the prompt, up to ties in floating point. It is not exact: an answer is lost whose
beginning is less likely than ``width`` others.
"""

from typing import Any

import torch
from transformers import DynamicCache

from sgd_hf.agent.decoding import MAX_NEW_TOKENS


def search(model: Any, cache: DynamicCache, likely: torch.Tensor, width: int, end: int) -> list[int]:
    """Of the answers that end, the one with the highest mean log-probability a token, end mark included, and without it returned;
    where none ends within the limit, what is likeliest so far.

    ``likely``: log-probabilities (1, vocabulary) of the first token; ``cache``: the prompt's keys and values, which are used up.
    """
    cache.batch_repeat_interleave(width)
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    while True:
        totals = likely + torch.tensor([[total] for total, _ in running], device=likely.device)
        best = totals.flatten().topk(2 * width)
        grown, rows = [], []
        for rank, (total, place) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            row, token = divmod(place, totals.shape[1])
            written = running[row][1]
            if token != end:
                grown.append((total, [*written, token]))
                rows.append(row)
            elif rank < width:
                ended.append((total / (len(written) + 1), written))
        running, rows = grown[:width], rows[:width]
        ended = sorted(ended, reverse=True)[:width]
        total, written = running[0]
        if len(written) == MAX_NEW_TOKENS or len(ended) == width and ended[-1][0] >= total / len(written):
            return ended[0][1] if ended else written
        cache.reorder_cache(torch.tensor(rows, device=likely.device))
        new = torch.tensor([[written[-1]] for _, written in running], device=likely.device)
        likely = model(new, cache=cache, use_cache=True).logits[:, -1].float().log_softmax(-1)
