"""A row under other names: the same episode in a world whose boxes, wires, letters, pots, plants and tested things are
called otherwise, and whose limits and readings are other numbers, so that a student cannot learn an outcome by the name of
the thing that it happened to, nor a comparison by heart.

Guarantee: renaming is one-to-one and the same in prompts and answers, so that what is to be read from a reply stays to
be read from it; every measured temperature stays on its side of the limit, and a block that slid farther slid farther.
It is a function of the row and a key alone. Names that mean something are left alone: rooms, paints, phases, traits,
animals whose lives are compared. (issue 7: entity renaming)
"""

import random
import re

from sgd_hf.core.prompts import Message
from sgd_hf.core.texts import SLID

_COLOURS = ("black", "blue", "green", "orange", "purple", "red", "violet", "yellow")
_LETTERS = tuple("bcdefghijklmnopqrstuvwxyz")
_PLANTS = ("apple", "apricot", "avocado", "banana", "cherry", "grapefruit", "lemon", "peach")
_SURFACES = (
    *("aluminum", "brass", "bronze", "caesium", "ceramic", "chocolate", "cloth", "copper", "glass", "greenpaint", "iron", "lead"),
    *("paper", "plastic", "platinum", "rubber", "sandpaper", "soapy water", "steel", "titanium", "wood", "zinc"),
)

_PLANES = r"(?<=planes \(){0}(?=, )|(?<=, ){0}(?=\) has the )|\b{0}(?= \d+, | is (?:farth|near)er)"  # in a task, in a planner's reason
_KINDS = [
    (names, re.compile(where.format(f"(?:{'|'.join(names)})")))
    for names, where in (
        (_COLOURS, r"\b{0}(?= (?:box|wire|light bulb))"),
        (_LETTERS, rf"(?:(?<=unknown )|(?<=unknown substance )|(?<=unknown material )|(?<=inclined plane )){{0}}\b|{_PLANES}"),
        (_SURFACES, rf"(?<=plane with a ){{0}}(?= surface)|{_PLANES}"),
        (tuple("123456789"), r"(?<=flower pot ){0}\b"),
        (_PLANTS, r"\b{0}\b"),
    )
]
"""names that change places with each other, and where they stand as such"""

_THINGS = ("candle", "comb", "copper coin", "cork", "gold ring", "leather belt", "marble", "pencil", "tin can", "wool sock")
_SUBSTANCES = ("alum", "amber", "beeswax", "borax", "cobalt", "menthol", "paraffin", "resin", "sulfur", "tallow")
_ANIMALS = ("badger", "camel", "deer", "eagle", "goat", "heron", "lizard", "otter", "swan", "zebra")
_ABOUT = [
    (names, re.compile(where))
    for names, where in (
        (_THINGS, r"determine if ([\w ]+) is electrically"),
        (_SUBSTANCES, r"(?:temperature|melting point) of ([\w ]+), which"),
        (_ANIMALS, r"life stages of the ([\w ]+), starting"),
    )
]
"""names that the simulator does not have, and where a task says what it is about"""
_LIMIT = re.compile(r"(?:(?<=above )|(?<=below ))-?\d+(?:\.\d+)?(?= degrees celsius)")
_MEASURED = re.compile(r"(?:^|a temperature of )(-?\d+)(?= degrees celsius)")  # a reason begins with what was measured
_LIMITS = (-99, 300)
_COMPARED = re.compile(r"(?<= )\d+(?=, .*\b(?:farth|near)er: )")  # how far blocks slid, in a planner's reason
_KEPT = re.compile(r"unknown|\b(?:water|ice|steam|plant)\b")


def renamed(messages: list[Message], key: str) -> list[Message]:
    """The messages of a row with other names in them; another ``key`` draws others."""
    draw = random.Random(key)
    texts = [message["content"] for message in messages]
    for names, where in _ABOUT:
        about = where.search(texts[0])
        if about and not _KEPT.search(about[1]):
            name, old = draw.choice(names), re.compile(rf"\b{re.escape(about[1])}\b")
            texts = [old.sub(name, text) for text in texts]
    for names, where in _KINDS:
        other = dict(zip(names, draw.sample(names, len(names)), strict=True))
        texts = [where.sub(lambda found, other=other: other[found[0]], text) for text in texts]
    texts = _other_ways(_other_limit(texts, draw), draw)
    return [{**message, "content": text} for message, text in zip(messages, texts, strict=True)]


def _other_limit(texts: list[str], draw: random.Random) -> list[str]:
    """The texts with another temperature as the limit that a task gives."""
    limits = {float(limit) for text in texts for limit in _LIMIT.findall(text)}
    if len(limits) != 1:
        return texts
    [limit] = limits
    measured = [int(degrees) for text in texts for degrees in _MEASURED.findall(text)]
    low = max((degrees for degrees in measured if degrees <= limit), default=_LIMITS[0])
    high = min((degrees for degrees in measured if degrees >= limit), default=_LIMITS[1])
    if low + 1 >= high:
        return texts
    other = f"{draw.randrange(low + 1, high)}.0"
    return [_LIMIT.sub(other, text) for text in texts]


def _other_ways(texts: list[str], draw: random.Random) -> list[str]:
    """The texts with blocks that have come less or more far down their planes, the farther still the farther."""
    ways = sorted({int(way) for text in texts for where in (SLID, _COMPARED) for way in where.findall(text) if way} - {100})
    other = dict(zip(map(str, ways), map(str, sorted(draw.sample(range(1, 100), len(ways)))), strict=True))
    texts = [SLID.sub(lambda found: found[0].replace(f"{found[1]}%", f"{other.get(found[1])}%"), text) for text in texts]
    return [_COMPARED.sub(lambda found: other.get(found[0], found[0]), text) for text in texts]
