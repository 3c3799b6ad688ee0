"""The closed grammar of sub-goals: ``verb(arg[, arg])``, the language between planner and executor.

Guarantee: a `Subgoal` that exists is canonical (a known verb, the right number of arguments, lower case, single
spaces, no article in front), so ``parse(str(subgoal)) == subgoal`` always, and equal sub-goals have equal text.
What can be read off a state is read here and nowhere else: `grounded` says whether the planner could have known
the arguments, `reached` whether a sub-goal's post-condition holds.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from sgd_hf.core.texts import ROOMS, room

_CALL = re.compile(r"([^\W\d][\w -]*?) ?\(([^()]*)\) ?[.;]?")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_DROPPED = re.compile(r"(?<![\w-])(?<!plane )(?<!material )(?<!substance )(?<!unknown )(?:a|an|the|substance called) ")
_GLUED = re.compile(r"(?<=\w)its (?=(?:terminal|anode|cathode) )")
_JOINT = re.compile(r" (?:in|on) ")

Check = Callable[[tuple[str, ...], str, str], bool | None]


@dataclass(frozen=True)
class Verb:
    """What a verb takes and means. ``reports``: it exists for the observation that it yields, which the planner
    needs afterwards. ``check(args, look, inventory)`` is its post-condition, None where no text shows one."""

    least: int
    most: int
    meaning: str
    example: str
    reports: bool = False
    check: Check | None = None


def plain(text: str) -> str:
    """Text as names are compared, line by line: lower case, without articles, parentheses and "substance called";
    the letter of "inclined plane A" or "unknown substance A" is no article."""
    return _tidy(text.replace("(", "").replace(")", ""))


def unglued(text: str) -> str:
    """Lower-case text with the words apart that the simulator writes as one: "a red wireits terminal 1 is ..."."""
    return _GLUED.sub(" its ", text)


def _tidy(text: str) -> str:
    return "\n".join(_tidy_line(line) for line in text.split("\n"))


@functools.lru_cache(maxsize=1 << 14)  # a room's lines come again at every step
def _tidy_line(line: str) -> str:
    before = None
    while line != before:
        before = line
        line = " ".join(_DROPPED.sub("", unglued(line.lower()) + " ").split())
    return line


def names(text: str, name: str) -> bool:
    """Whether a name occurs in a text that `plain` wrote, as whole words."""
    wanted = plain(name)  # nothing, of an article alone
    return bool(wanted) and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text) is not None


def known(name: str, text: str) -> bool:
    """Whether an argument can be written from a text that `plain` wrote: numbers, the simulator's rooms, the word
    "substance" (its name for whatever a container holds), a name that occurs, or ``x in y`` of two that do."""
    if _NUMBER.fullmatch(name) or name in ROOMS or name == "substance" or names(text, name):
        return True
    parts = _JOINT.split(name)
    return len(parts) > 1 and all(known(p, text) for p in parts)


def _inside(item: str, container: str, text: str) -> bool:
    """Whether a state shows the item in the container: ``jug (containing red paint)``, ``on the stove is: a metal pot``."""
    name = re.escape(plain(container).split(" containing ")[0])
    for line in _tidy(text).split("\n"):
        for found in re.finditer(rf"(?<!\w){name}(?: \(containing |[.,] .*?[io]n {name} is: )", line):
            if names(plain(_balanced(line[found.end() :])), item):
                return True
    return False


def _balanced(text: str) -> str:
    """The text up to the parenthesis that closes a group begun before it."""
    depth = 1
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return text[:i]
    return text


def _in_room(args: tuple[str, ...], look: str, inventory: str) -> bool:
    return room(look) == args[0]


def _held(args: tuple[str, ...], look: str, inventory: str) -> bool:
    return all(names(plain(inventory), _JOINT.split(a)[0]) for a in args)


def _not_held(args: tuple[str, ...], look: str, inventory: str) -> bool:
    return not any(names(plain(inventory), _JOINT.split(a)[0]) for a in args)


def _dug(args: tuple[str, ...], look: str, inventory: str) -> bool:
    return names(plain(inventory), "soil")


def _put(args: tuple[str, ...], look: str, inventory: str) -> bool:
    return _inside(_JOINT.split(args[0])[0], args[1], look + "\n" + inventory)


def _poured(args: tuple[str, ...], look: str, inventory: str) -> bool | None:
    return _put(args, look, inventory) or None  # what was poured may be named by its old container, which no longer shows it


def _planted(args: tuple[str, ...], look: str, inventory: str) -> bool:
    return all(_inside(args[0], pot, look) for pot in args[1:])


def _door(state: str) -> Check:
    """All of the things named show their door or lid in that state; None for those that show no state (drawers, jars)."""

    def check(args: tuple[str, ...], look: str, inventory: str) -> bool | None:
        text = plain(look)
        seen = [re.search(rf"(?<!\w){re.escape(plain(a))}(?: door is| that is) (open|closed)", text) for a in args]
        return all(s[1] == state for s in seen if s) if all(seen) else None

    return check


def _heated(args: tuple[str, ...], look: str, inventory: str) -> bool:
    return names(plain(look), f"{args[2]}, which is turned on") and _inside(args[1], args[2], look)


def _cooled(args: tuple[str, ...], look: str, inventory: str) -> bool:
    return _inside(args[1], args[2], look)


def _slid(args: tuple[str, ...], look: str, inventory: str) -> bool | None:
    """A block has come to the end of its inclined plane; of all else that is watched nothing says when to stop."""
    return bool(re.search(rf"(?<!\w){re.escape(plain(args[0]))}, with: [^:\n]* at bottom of plane\b", plain(look))) or None


def _filled(args: tuple[str, ...], look: str, inventory: str) -> bool:
    return _inside("water", args[0], inventory)


VERBS: dict[str, Verb] = {
    "navigate_to": Verb(1, 1, "go to a room, by whatever way", "navigate_to(kitchen)", check=_in_room),
    "pick_up": Verb(1, 4, "take things into the inventory", "pick_up(thermometer)", check=_held),
    "drop": Verb(1, 4, "lay things down in the room", "drop(blue light bulb)", check=_not_held),
    "put": Verb(2, 2, "move a thing into or onto another", "put(chocolate, metal pot)", check=_put),
    "pour": Verb(2, 2, "pour a substance or a container's contents into another container", "pour(red paint, jug)", check=_poured),
    "mix": Verb(1, 5, "bring the substances named first into the container named last, and mix", "mix(red paint, blue paint, jug)"),
    "fill": Verb(1, 1, "fill a container with water at the sink and take it", "fill(metal pot)", check=_filled),
    "open": Verb(1, 4, "open containers, one after the other", "open(cupboard)", check=_door("open")),
    "close": Verb(1, 4, "close containers or doors, one after the other", "close(door to hallway)", check=_door("closed")),
    "focus_on": Verb(1, 1, "declare what the task is about, or its answer; a wrong one fails the task", "focus_on(red box)"),
    "heat": Verb(3, 3, "move the substance's container onto the heater and turn it on", "heat(water, metal pot, stove)", check=_heated),
    "cool": Verb(3, 3, "move the substance's container into the cooler", "cool(water, metal pot, freezer)", check=_cooled),
    "measure": Verb(1, 1, "examine a thing and take its temperature, again and again as it changes", "measure(ice)", reports=True),
    "monitor": Verb(1, 1, "take a thing's temperature and wait, in turns", "monitor(apple juice)", reports=True),
    "examine": Verb(1, 1, "examine a thing once", "examine(chocolate)", reports=True),
    "watch": Verb(1, 1, "look at a thing again and again as it changes", "watch(inclined plane b)", check=_slid, reports=True),
    "time": Verb(2, 2, "put the block on the inclined plane and start the stopwatch", "time(steel block, inclined plane b)"),
    "read_time": Verb(1, 1, "stop the stopwatch and read it", "read_time(stopwatch)", reports=True),
    "read": Verb(1, 1, "take a text and read it", "read(recipe)", reports=True),
    "wait": Verb(1, 1, "let that many ticks pass", "wait(5)"),
    "activate": Verb(1, 1, "turn a device on", "activate(stove)"),
    "deactivate": Verb(1, 1, "turn a device off", "deactivate(stove)"),
    "connect": Verb(2, 3, "connect both terminals of a part to wires", "connect(battery, red wire, black wire)"),
    "dig": Verb(1, 1, "use the shovel on the ground and take the soil", "dig(ground)", check=_dug),
    "plant": Verb(2, 5, "move one seed into each pot named", "plant(pea seed, flower pot 1, flower pot 2)", check=_planted),
    "water": Verb(1, 4, "fill the jug at the sink and pour it into each pot named", "water(flower pot 1, flower pot 2)"),
    "collect": Verb(2, 2, "move the seeds or fruits that grew into a container, one after the other", "collect(pea seed, ceramic cup)"),
    "release_bees": Verb(1, 1, "close the doors and open the bee hive", "release_bees(bee hive)"),
    "use": Verb(1, 1, "do with a thing what no other verb says", "use(toilet)"),
    "complete_task": Verb(0, 0, "nothing is left to do; the planner's last word", "complete_task()"),
}
"""`complete_task` is what the planner says at the end and is never a segment."""


@dataclass(frozen=True)
class Subgoal:
    """One call of a verb; made canonical when constructed. Raises ``ValueError`` in one sentence if it is none."""

    verb: str
    args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        verb = re.sub(r"[\s_-]+", "_", self.verb.strip().lower())
        args = tuple(_argument(a) for a in self.args)
        if verb not in VERBS:
            raise ValueError(f"{verb[:40]!r} is not a verb of the sub-goal grammar; the verbs are {', '.join(VERBS)}.")
        kind = VERBS[verb]
        if not kind.least <= len(args) <= kind.most:
            raise ValueError(f"{verb} takes {kind.least} to {kind.most} arguments and got {len(args)}, for example {kind.example}.")
        if any(not a or re.search(r"[(),]", a) for a in args):
            raise ValueError(f"an argument of {verb} is empty or holds a comma or a parenthesis; write for example {kind.example}.")
        object.__setattr__(self, "verb", verb)
        object.__setattr__(self, "args", args)

    def __str__(self) -> str:
        return f"{self.verb}({', '.join(self.args)})"


def parse(text: str) -> Subgoal:
    """Reads ``verb(arg, arg)``, however spaced, quoted or capitalised. Raises ``ValueError`` in one sentence otherwise."""
    text = " ".join(text.split())
    found = _CALL.fullmatch(text)
    if not found:
        raise ValueError(f"{text[:80]!r} is not of the form verb(argument, argument).")
    inner = found[2].strip()
    return Subgoal(found[1], tuple(inner.split(",")) if inner else ())


def grounded(subgoal: Subgoal, seen: str) -> bool:
    """Whether every argument is `known` from what has been ``seen`` before the sub-goal starts, a text that `plain` wrote."""
    return all(known(a, seen) for a in subgoal.args)


def reached(subgoal: Subgoal, look: str, inventory: str) -> bool | None:
    """Whether the sub-goal's post-condition holds in a state; None where the state does not show it."""
    check = VERBS[subgoal.verb].check
    return check(subgoal.args, look, inventory) if check else None


def _argument(text: str) -> str:
    before = None
    while text != before:
        before = text
        text = " ".join(text.replace("_", " ").lower().split()).strip(" '\"`‘’“”")
        text = re.sub(r"^(?:a|an|the) ", "", text)
    return text
