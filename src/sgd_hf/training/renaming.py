"""A row under other names: the same episode in a world whose boxes, wires, letters, pots, plants and tested things are
called otherwise, so that a student cannot learn an outcome by the name of the thing that it happened to.

Guarantee: renaming is one-to-one and the same in prompts and answers, so that what is to be read from a reply stays to
be read from it, and a function of the row and a key alone. Names that mean something are left alone: rooms, paints,
phases, traits, animals whose lives are compared. (issue 7: entity renaming)
"""

import random
import re

from sgd_hf.core.prompts import Message

_COLOURS = ("black", "blue", "green", "orange", "purple", "red", "violet", "yellow")
_LETTERS = tuple("bcdefghijklmnopqrstuvwxyz")
_PLANTS = ("apple", "apricot", "avocado", "banana", "cherry", "grapefruit", "lemon", "peach")
_SURFACES = (
    *("aluminum", "brass", "bronze", "caesium", "ceramic", "chocolate", "cloth", "copper", "glass", "greenpaint", "iron", "lead"),
    *("paper", "plastic", "platinum", "rubber", "sandpaper", "soapy water", "steel", "titanium", "wood", "zinc"),
)

_PLANES = r"(?<=planes \(){0}(?=, )|(?<=, ){0}(?=\) has the )|\b{0}(?= \d+, | is (?:fast|slow)er)"  # in a task, in a planner's reason
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
    return [{**message, "content": text} for message, text in zip(messages, texts, strict=True)]
