"""How the rule teacher cuts a gold path: deterministic, for every task, and without looking ahead.

Guarantee: `segment` covers any sequence of actions exactly, with sub-goals of the grammar. Every action is given a
letter (`_KINDS`); every rule (`_RULES`) is a regular expression over those letters and a function that names the
sub-goal; at each position the first rule that matches and can name one wins, and takes at most `LONGEST` actions.
Arguments are names that could be seen when the segment starts, where the path allows; the simulator's odd referents
(``egg giant tortoise``, ``light``) are replaced by the name that its answer shows, if that name was in sight.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sgd_hf.core.records import GoldPath, Segment, Step
from sgd_hf.core.subgoals import Subgoal, grounded, known, plain
from sgd_hf.core.texts import ROOMS, TICKS

REVISION = "1"
"""raised with every change that cuts or names differently"""

LONGEST = 10

_HEATERS = "stove|blast furnace|oven|hot plate"
_COOLERS = "freezer|ultra low temperature freezer|fridge"

_KINDS = tuple(
    (letter, re.compile(pattern))
    for letter, pattern in (
        ("o", r"open door to (?P<x>.+)"),
        ("c", r"close (?P<x>door to .+)"),
        ("n", r"(?:go|teleport) to (?P<x>.+)"),
        ("B", r"open (?P<x>bee hive)"),
        ("O", r"open (?P<x>.+)"),
        ("C", r"close (?P<x>.+)"),
        ("a", r"activate (?P<x>sink)"),
        ("q", r"deactivate (?P<x>sink)"),
        ("b", r"activate (?P<x>stopwatch)(?: in inventory)?"),
        ("v", r"deactivate (?P<x>stopwatch)(?: in inventory)?"),
        ("H", rf"activate (?P<x>{_HEATERS})"),
        ("A", r"activate (?P<x>.+)"),
        ("D", r"deactivate (?P<x>.+)"),
        ("S", r"move (?P<x>.+) to (?P<y>sink)"),
        ("h", rf"move (?P<x>.+) to (?P<y>{_HEATERS})"),
        ("z", rf"move (?P<x>.+) to (?P<y>{_COOLERS})"),
        ("i", r"move (?P<x>.+) to (?P<y>inclined plane.*)"),
        ("j", r"move (?P<x>.*seed.*) to (?P<y>(?:self watering )?flower pot \d+)"),
        ("M", r"move (?P<x>.+) to (?P<y>ceramic cup)"),
        ("m", r"move (?P<x>.+) to (?P<y>.+)"),
        ("g", r"pour (?P<x>jug) into (?P<y>(?:self watering )?flower pot \d+)"),
        ("u", r"pour (?P<x>.+) in(?:to)? (?P<y>.+)"),
        ("x", r"mix (?P<x>.+)"),
        ("f", r"focus on (?P<x>.+)"),
        ("P", r"pick up (?P<x>recipe)"),
        ("p", r"pick up (?P<x>.+)"),
        ("d", r"(?:drop|put down) (?P<x>.+)"),
        ("y", r"examine (?P<x>stopwatch)(?: in inventory)?"),
        ("e", r"examine (?P<x>.+)"),
        ("L", r"look around"),
        ("l", r"look (?:at|in|on) (?P<x>.+)"),
        ("t", r"use thermometer(?: in inventory)? on (?P<x>.+)"),
        ("s", r"use shovel(?: in inventory)? on (?P<x>.+)"),
        ("r", r"read (?P<x>.+?)(?: in inventory)?"),
        ("k", r"connect (?P<x>.+) to (?P<y>.+)"),
        ("w", r"wait1"),
        ("W", r"wait"),
    )
)


@dataclass(frozen=True)
class _Move:
    """An action, its letter, what it names, and what the simulator's answer calls these."""

    kind: str
    x: str
    y: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """What the planner has at the start of a segment: all text so far (`plain`), the substance that the task is
    about, and what was focused on last."""

    seen: str
    substance: str
    focused: str

    def name(self, referent: str, shown: str = "") -> str:
        """The name in sight for a referent; the simulator's own name for it, ``shown``, where that says more."""
        referent, shown = _bare(referent) or "it", _bare(shown)
        head, rest = re.fullmatch(r"(.+?)((?: (?:in|on|containing) .*)?)", referent).groups()
        words, once = set(head.split()), " ".join(dict.fromkeys(head.split()))
        if words | set(shown.split()) <= set(self.focused.split()) and known(self.focused, self.seen):
            head = self.focused
        elif known(once, self.seen) and (not shown or words > set(shown.split()) or not known(shown, self.seen)):
            head = once
        elif shown and known(shown, self.seen):
            head = shown
        for part in re.findall(r" (?:in|on|containing) (?:(?! in | on ).)+", rest):
            head += part if known(head + part, self.seen) else ""
        return head


Name = Callable[[list[_Move], View], tuple[str, ...] | None]


def _bare(name: str) -> str:
    """Lower case, without parentheses and without the place that is understood: the inventory, a room."""
    return re.sub(r"\s*\([^)]*\)?| (?:in|on) (?:the )?(?:inventory|" + "|".join(ROOMS) + r")\b", "", " ".join(name.lower().split()))


def segment(gold: GoldPath) -> tuple[Segment, ...]:
    """The cut of one gold path: sub-goals and half-open ranges of its steps, in order and without a hole."""
    moves = [_move(step) for step in gold.steps]
    letters = "".join(m.kind for m in moves)
    view = views(gold)
    segments, start = [], 0
    while start < len(moves):
        subgoal, end = _next(moves, letters, start, view(start))
        segments.append(Segment(str(subgoal), start, end))
        start = end
    return tuple(segments)


def candidates(gold: GoldPath, starts: Sequence[int], most: int = 6) -> list[list[tuple[str, int]]]:
    """For each of ``starts`` (ascending indices of steps) one to ``most`` sub-goals that could begin there, each with the
    step before which it is not done: what any rule would name, shortest and longest, then what begins at the next three
    starts and can be known already, because what comes before it may be its preparation."""
    moves = [_move(step) for step in gold.steps]
    letters = "".join(m.kind for m in moves)
    view = views(gold)
    seen, own = [], []
    for start in starts:
        now = view(start)
        seen.append(now.seen)
        named = [(s, end) for s, end in _named(moves, letters, start, now) if s.verb != "use"]
        own.append(named or [_next(moves, letters, start, now)])
    found = []
    for k, subgoals in enumerate(own):
        later = [(s, end) for following in own[k + 1 : k + 4] for s, end in following if grounded(s, seen[k])]
        earliest: dict[str, int] = {}
        for subgoal, end in (*subgoals, *later):
            earliest[str(subgoal)] = min(end, earliest.get(str(subgoal), end))
        found.append(list(earliest.items())[:most])
    return found


def _named(moves: list[_Move], letters: str, start: int, view: View) -> Iterator[tuple[Subgoal, int]]:
    for verb, pattern, name in _RULES:
        ends = [end for end in range(start + 1, min(len(moves), start + LONGEST) + 1) if pattern.fullmatch(letters, start, end)]
        for end in dict.fromkeys((*ends[-1:], *ends[:1])):
            args = name([m for m in moves[start:end] if m.kind != "L"], view)
            if args is not None:
                yield Subgoal(verb, tuple(_writable(a) for a in args)), end


def views(gold: GoldPath) -> Callable[[int], View]:
    """What is known before step ``k``, for ``k`` in ascending order."""
    lines = dict.fromkeys(plain("\n".join((gold.description, gold.look, gold.inventory))).split("\n"))
    found = re.search(r"(?:boil|melt|freeze|change the state of matter of|melting point of) ([^.,]+)[.,]", gold.description)
    done, focused = 0, ""

    def view(start: int) -> View:
        nonlocal done, focused
        for step in gold.steps[done:start]:
            lines.update(dict.fromkeys(plain("\n".join((step.observation, step.look, step.inventory))).split("\n")))
            focus = re.match(r"You focus on the (.+)\.", step.observation)
            focused = _bare(focus[1]) if focus else focused
        done = start
        return View("\n".join(lines), found[1] if found else "", focused)

    return view


def _next(moves: list[_Move], letters: str, start: int, view: View) -> tuple[Subgoal, int]:
    for verb, pattern, name in _RULES:
        found = pattern.match(letters, start, min(len(letters), start + LONGEST))
        if not found:
            continue
        for end in range(found.end(), start, -1):
            if not pattern.fullmatch(letters, start, end):
                continue
            args = name([m for m in moves[start:end] if m.kind != "L"], view)
            if args is not None:
                return Subgoal(verb, tuple(_writable(a) for a in args)), end
    raise AssertionError("the last rule takes any action")


def _writable(name: str) -> str:
    """What the grammar can hold of a name, and a question to a teacher can show."""
    name = re.sub(r"[(),<>\[\]{}|\"].*", "", name)
    return name if any(c.isalnum() for c in name) else "it"


def _move(step: Step) -> _Move:
    action = " ".join(step.action.lower().split())
    found = next(((kind, match.groupdict()) for kind, pattern in _KINDS if (match := pattern.fullmatch(action))), None)
    kind, names = found or ("?", {"x": action.partition(" ")[2]})
    shown = re.match(
        r"(?:\(.*?\) ?)?(?:You focus on the (.+)\.|You move the (.+) to the (.+)\.|You pour the contents of the (.+) into the (.+)\."
        r"|.* on (.+) is now connected to .* on (.+?)\.?)$",
        step.observation.strip(),
    )
    return _Move(kind, names.get("x", ""), names.get("y", ""), tuple(g for g in shown.groups() if g) if shown else ())


def _x(move: _Move, view: View) -> str:
    return view.name(move.x, move.shown[0] if move.shown else "")


def _y(move: _Move, view: View) -> str:
    return view.name(move.y, move.shown[1] if len(move.shown) > 1 else "")


def _each(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    """One argument for each different thing; all must be in sight, but for a single one."""
    names = tuple(dict.fromkeys(_x(m, view) for m in moves))
    return names if len(names) == 1 or len(names) <= 4 and all(known(n, view.seen) for n in names) else None


def _first(moves: list[_Move], view: View) -> tuple[str, ...]:
    return (_x(moves[0], view),)


def _last(moves: list[_Move], view: View) -> tuple[str, ...]:
    return (_x(moves[-1], view),)


def _pair(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    last = moves[-1]
    return (_x(last, view), _y(last, view)) if all(m.x == last.x or _x(m, view) == _x(last, view) for m in moves) else None


def _walk(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    """A walk that comes back to a room is more than one sub-goal."""
    rooms = [m.x for m in moves if m.kind == "n"]
    return (rooms[-1],) if len(set(rooms)) == len(rooms) else None


def _same(moves: list[_Move], view: View) -> tuple[str, ...]:
    return (view.name(moves[0].x),)


def _count(moves: list[_Move], view: View) -> tuple[str, ...]:
    return (str(sum(TICKS["wait" if m.kind == "W" else "wait1"] for m in moves)),)


def _pots(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    pots = tuple(dict.fromkeys(_y(m, view) for m in moves if m.kind == "g"))
    return pots if len(pots) <= 4 else None


def _vessel(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    names = {_x(m, view) for m in moves if m.kind in "Sp"}
    return tuple(names) if len(names) == 1 else None


def _ground(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    return (view.name(moves[0].x),) if moves[1].x == "soil" else None


def _seeds(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    seeds = {view.name(re.sub(r" in (?:.* )?(?:jar|cup)$", "", m.x), m.shown[0] if m.shown else "") for m in moves}
    return (seeds.pop(), *(_y(m, view) for m in moves)) if len(seeds) == 1 and len(moves) <= 4 else None


def _thermal(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    """heat and cool: the substance, the container that holds it, the device; what is opened is the device."""
    moved = next(m for m in moves if m.kind in "hz")
    if any(m.kind == "O" and m.x != moved.y or m.kind == "H" and m.x != moved.y for m in moves):
        return None
    container = _x(moved, view)
    if any(m.kind == "p" and _x(m, view) != container for m in moves):
        return None
    inside = re.search(r" containing (.+)", moved.x)
    return (view.substance or (inside[1] if inside else container), container, _y(moved, view))


def _mixture(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    """What comes into one container in turn, then the container, as it was called at the first of them."""
    brought = [m for m in moves if m.kind in "mu"]
    if any(m.kind in "pe" and m.x not in {b.x for b in moves if b is not m} for m in moves):
        return None
    things = [re.sub(r".* containing ", "", re.sub(r" in [\w ]+$", "", m.x)) for m in brought if m.x != m.y]
    if any(m.y.split(" containing ")[0] != moves[-1].x.split(" containing ")[0] for m in brought):
        return None
    container = _y(brought[0], view) if brought else _x(moves[-1], view)
    names = (*dict.fromkeys(view.name(t) for t in things), container)
    return names if len(names) <= 5 and (len(names) == 1 or all(known(n, view.seen) for n in names)) else None


def _poured(moves: list[_Move], view: View) -> tuple[str, ...]:
    move = moves[-1]
    holding = re.search(r" containing ([^()]+?)(?: in [\w ]+)?$", move.x)
    return (view.name(holding[1]) if holding and holding[1] != "nothing" else _x(move, view), _y(move, view))


def _harvest(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    shown = {re.sub(r"^.*?((?:\S+ \S+|\S+) seed)$", r"\1", plain(m.shown[0])) if m.shown else plain(m.x) for m in moves}
    name = max((s for s in sorted(shown) if known(s, view.seen)), key=len, default="")
    return (name or view.name(moves[0].x), _y(moves[0], view))


def _joined(moves: list[_Move], view: View) -> tuple[str, ...] | None:
    """The part that all the connections share, and the wires that it is joined to, in order."""
    ends = []
    for move in moves:
        pair = []
        for i, referent in enumerate((move.x, move.y)):
            bare = re.sub(r"^(?:anode|cathode|terminal \d) (?:in|on) | (?:anode|cathode|terminal \d)$", "", referent)
            pair.append(view.name(bare, move.shown[i] if len(move.shown) > i else ""))
        ends.append(pair)
    common = set.intersection(*(set(p) for p in ends))
    part = min(common, key=lambda n: (n.endswith("wire"), n)) if common else None
    if part is None or len(moves) > 1 and part.endswith("wire"):
        return None
    return (part, *(p[1] if p[0] == part else p[0] for p in ends))


_RULES: tuple[tuple[str, re.Pattern[str], Name], ...] = tuple(
    (verb, re.compile(f"L*(?:{pattern})"), name)  # looking around belongs to what it prepares
    for verb, pattern, name in (
        ("navigate_to", r"(?:o?n)+", _walk),
        ("water", r"a(?:S?g)+q", _pots),
        ("fill", r"p?Sa+q?p?", _vessel),
        ("heat", r"[pO]*hH", _thermal),
        ("cool", r"[pO]*z", _thermal),
        ("time", r"ib", lambda moves, view: _pair(moves[:1], view)),
        ("read_time", r"vy", _first),
        ("dig", r"sp", _ground),
        ("release_bees", r"c*B", _last),
        ("mix", r"(?:p?m|u)*e?x", _mixture),
        ("read", r"P?r", _last),
        ("plant", r"j+", _seeds),
        ("collect", r"M+", _harvest),
        ("connect", r"k{1,2}", _joined),
        ("monitor", r"(?:et?W|tW)+", _same),
        ("measure", r"(?:et)+e(?!t)|(?:e?t)+", _same),
        ("watch", r"l+", _each),
        ("wait", r"w{1,5}|W", _count),
        ("put", r"p?[mhiSzjM]", _pair),
        ("pour", r"[ug]", _poured),
        ("pick_up", r"p+|P", _each),
        ("drop", r"d+", _each),
        ("open", r"O+", _each),
        ("open", r"o", lambda moves, view: (f"door to {moves[0].x}",)),
        ("close", r"[cC]+", _each),
        ("focus_on", r"f", _first),
        ("activate", r"[abHA]", _first),
        ("deactivate", r"[qvD]", _first),
        ("examine", r"[ey]", _first),
        ("mix", r"x", _first),
        ("use", r"[^L]", _same),
        ("watch", r"L", lambda moves, view: ("room",)),
    )
)
