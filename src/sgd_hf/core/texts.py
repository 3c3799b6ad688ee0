"""What the simulator's texts say, read without the simulator.

Guarantee: pure functions of ScienceWorld 1.2.3's English; they never raise, and a text that they do not know
comes back unchanged but for white space.
"""

import re

NOT_ACCEPTED = ("No known action matches that input", "Unknown action")
ROOMS = (
    "hallway", "kitchen", "living room", "bedroom", "bathroom", "art studio", "workshop", "greenhouse", "outside", "foundry",
)  # fmt: skip
TICKS = {"wait": 10, "wait1": 1}
"""the actions that wait, and for how long"""

RUNNING = re.compile(r"\b(\w+ light bulb|electric \w+) \(on\)")
"""a part of a circuit that runs, in a state that `sights` made"""
TEMPERATURE = re.compile(r"a temperature of (-?\d+ degrees celsius)")
SLID = re.compile(r"approximately (\d+)% down the plane|at the bottom of the plane")
"""how far a block has come on an inclined plane, in percent; no number at its end"""

_HEAD = re.compile(r"^This (?:room|outside location) is called the (.+?)\. (?:In it|Here),? you see:\s*")
_DOOR = re.compile(r"^a door to the (.+?)(?: \(that is (open|closed)\))?$", re.IGNORECASE)
_SHORTER = tuple(
    (re.compile(pattern), short)
    for pattern, short in (
        (r",? which is (?:turned )?(on|off|activated|deactivated)\.?", r" (\1)"),
        (r", currently reading a temperature of (-?\d+) degrees celsius", r" (\1 degrees celsius)"),
        (r"\.? The [^.:]*? door is (open|closed)\.?", r" (\1)"),
        (r"\.? ?(?:On|In) the [^.:]+ is: nothing\.?| \(containing nothing\)", ""),
        (r"\.? ?(?:On|In) the [^.:]+ is: ", ": "),
        (r"(^|, |: |\(containing )(?:a substance called|an|a|the) ", r"\1"),
        (r"[. ]+$", ""),
    )
)
_FOCUS = re.compile(r"\bfocus on (?:the|an?) (?:grown )?([^.,;(]+)")
_FIRST = re.compile(r"\b(?:first|next), focus on (?:the|an?) ([^.,;(]+)")
_OPEN = re.compile(r"thing|substance|seed|(?:animal|inclined plane) with .*|(?:\d )?life stages .*")
_PLACED = re.compile(r" (?:in|on|containing) ")
_SPACE = re.compile(r"\s+")


def rejected(observation: str) -> bool:
    """Whether the simulator did not accept the action that this answers."""
    return observation.startswith(NOT_ACCEPTED)


def room(look: str) -> str:
    """The name of the room that a look describes, or the empty string."""
    match = _HEAD.match(look)
    return match[1] if match else ""


def flatten(text: str) -> str:
    """A text on one line, single spaced."""
    return _SPACE.sub(" ", text).strip()


def sights(look: str) -> list[str]:
    """The things that a look lists, one string each: no agent, no air, no articles, no word on what is empty;
    the doors are one last entry, an open door by its room's name alone."""
    doors, others = [], []
    for line in map(flatten, _HEAD.sub("", look).splitlines()):
        door = _DOOR.match(line)
        if door:
            doors.append(door[1] if door[2] != "closed" else f"{door[1]} (closed)")
        elif line not in ("", "the agent", "a substance called air", "You also see:"):
            for pattern, short in _SHORTER:
                line = pattern.sub(short, line)
            others.append(line)
    return [*others, "doors: " + ", ".join(doors)] if doors else others


def things(look: str) -> list[str]:
    """The `sights` of a look but for its doors."""
    return [sight for sight in sights(look) if not sight.startswith("doors: ")]


def carried(inventory: str) -> list[str]:
    """The things that an inventory text lists, shortened like `sights`."""
    return sights(inventory.partition(":")[2])


def first_of_all(task: str) -> list[str]:
    """What a task in small letters says by name to focus on before anything else, in its order."""
    return [name for name in map(str.strip, _FIRST.findall(task)) if not _OPEN.fullmatch(name)]


def sought(name: str, task: str) -> bool:
    """Whether a task that says by name what to focus on may mean this thing: it has the name, and not as the beginning of
    another, or the name has more words in front (``red apple`` for an apple). True where it leaves open what to focus on."""
    task = flatten(task).lower()
    wanted = [found.strip() for found in _FOCUS.findall(task)]
    if not wanted or any(map(_OPEN.fullmatch, wanted)):
        return True
    thing = _PLACED.split(name)[0]
    said = re.search(rf"\b{re.escape(thing)}\b(?! \w\w)", "\n".join([task, *wanted]))
    return bool(said) or thing.endswith(tuple(f" {name}" for name in wanted))
