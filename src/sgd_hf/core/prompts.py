"""The only place where a prompt is composed, for training rows and for the live agent alike (contract 2).

Guarantee: a prompt is a pure function of what happened so far. `Transcript` is fed the same four events by the
builder, which replays a gold path, and by the agent, which plays one; both read the same messages from it.
A prompt never outgrows its budget: the oldest history is dropped first, while the task, the sub-goal, the state
and the label are never cut (contract 3). The budget is in characters, so that rows serve every tokenizer; the
trainer proves that they fit its own. All is lower case but END, which the simulator does not mind: a name is the
same text in a state, a sub-goal and an action, so that it can be copied.

    planner    one conversation an episode, a turn a sub-goal (`reasons`): task and state, then what each changed
    executor   one conversation a sub-goal, a turn an action, closed by END
    flat       one conversation a window of actions, no sub-goals: the imitation baseline

That is the style `turns`. `PaperTranscript` is the same record read in the style `paper`: every prompt is one message
with the whole state, as encoder-decoder students read it. A style is known by its version, which rows, checkpoints
and agents carry, so that what was trained on one is never played with another.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from sgd_hf.core.reasons import reason, spoken
from sgd_hf.core.subgoals import VERBS, parse
from sgd_hf.core.texts import carried, flatten, room, sights

PROMPT_VERSION = "3"
PAPER_VERSION = "paper-1"
END = "END"
COMPLETE = "complete_task()"
BUDGET = 5000
"""characters of one prompt, a conversation's earlier turns included"""
PAPER_BUDGET = 3200
"""the same in the paper's style: about the 1024 tokens of its students"""
LABEL = 200
"""characters of the budget that are kept free for what the model writes"""
FLAT_WINDOW = 10
"""actions in one conversation of the flat baseline; as many earlier ones head the next"""
PAPER_HISTORY = 10
"""latest actions and ends of sub-goals that a prompt in the paper's style shows at most"""
REPLY = 300
"""characters of one reply of the simulator that a prompt shows at most"""

Message = dict[str, str]


@dataclass(frozen=True)
class State:
    """What the agent sees between two actions."""

    look: str
    inventory: str

    @property
    def text(self) -> str:
        return f"room: {room(self.look)}; {'; '.join(sights(self.look))}\n{self.carried}".lower()

    @property
    def carried(self) -> str:
        return f"inventory: {', '.join(carried(self.inventory))}".lower()


@dataclass(frozen=True)
class Past:
    """A sub-goal whose life is over, ``actions[start:end]`` of the transcript; ``fate`` is ended, reached or stalled."""

    subgoal: str
    start: int
    end: int
    fate: str
    reply: str
    why: str = ""

    @property
    def text(self) -> str:
        """The sub-goal, with its outcome where it was pursued for what it shows, or where it failed."""
        if self.fate == "stalled":
            return f"{self.subgoal} (failed)"
        return f"{self.subgoal} -> {self.reply}" if VERBS[parse(self.subgoal).verb].reports else self.subgoal


@dataclass
class Transcript:
    """The running record of one episode. Events: `begin`, `act`, `end` a sub-goal, and the first state."""

    version: ClassVar[str] = PROMPT_VERSION
    task: str
    state: State
    budget: int = BUDGET
    actions: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    past: list[Past] = field(default_factory=list)
    subgoal: str = ""
    why: str = ""
    """the reason that the planner gave for the sub-goal"""
    start: int = 0
    shortened: int = 0
    """prompts from which history had to be dropped"""

    def __post_init__(self) -> None:
        self._planner: list[Message] = []
        self._known = self.state
        self._asked: list[Message] = []
        self._executor: list[Message] = []
        self._flat: list[Message] = []
        self._turns = 0

    @property
    def changed(self) -> bool:
        """Whether the state is another than when the last sub-goal began."""
        return self.state != self._known

    def reason(self, subgoal: str) -> str:
        """The reason for a sub-goal that the planner could give now, empty where it needs none."""
        past = ((past.subgoal, past.reply) for past in self.past)
        return reason(parse(subgoal), flatten(self.task).lower(), self.state.text, past)

    def begin(self, subgoal: str, why: str = "") -> None:
        """The planner has written a sub-goal, after a reason or without; the executor's conversation about it opens."""
        self.subgoal, self.why, self.start = subgoal, why, len(self.actions)
        self._planner, self._known = answered(self._asked or self.planner(), spoken(subgoal, why)), self.state
        self._executor = [_user(self._executor_head())]

    def act(self, action: str, reply: str, state: State) -> None:
        """The simulator has answered an action with a reply and a new state."""
        action = action.lower()
        self.actions.append(action)
        self.replies.append(_clip(flatten(reply).lower()))
        before, self.state, self._asked = self.state, state, []
        self._go_on(before)

    def end(self, fate: str) -> None:
        """The current sub-goal is over: ended, reached or stalled."""
        reply = self.replies[-1] if len(self.actions) > self.start else ""
        self.past.append(Past(self.subgoal, self.start, len(self.actions), fate, reply, self.why))
        self.subgoal, self.why, self._asked = "", "", []

    def planner(self, wrong: str = "") -> list[Message]:
        """The conversation up to the next sub-goal; ``wrong`` says why the last one did not work, if it did not."""
        mishap = [f"went wrong: {_clip(wrong)}"] if wrong else []
        turn = _user("\n".join([self._last(), *_changes(self._known, self.state), *mishap]))
        self._asked = self._within([*self._planner, turn]) if self._planner else []
        if not self._asked:
            tail = [self.state.text, self._last(), *mishap, "next sub-goal?"]
            head = self._fit(f"task: {flatten(self.task).lower()}", "done", [past.text for past in self.past], tail, "; ")
            self._asked = [_user(head)]
        return self._asked

    def executor(self) -> list[Message]:
        """The conversation about the current sub-goal, up to the next action or END."""
        return self._executor

    def flat(self) -> list[Message]:
        """The conversation of the flat baseline, up to the next action."""
        if not self._flat:
            self._flat = [_user(self._flat_head())]
        return self._flat

    def _go_on(self, before: State) -> None:
        """The conversations grow by the action just taken, from the state ``before`` to the present one."""
        action, news = self.actions[-1], _news(self.replies[-1], before, self.state)
        if self.subgoal:
            turn = f"{news}\nsub-goal: {self.subgoal}"
            self._executor = self._extended(self._executor, action, turn) or [_user(self._executor_head())]
        self._turns += 1
        if self._flat:
            fits = self._turns < FLAT_WINDOW and self._extended(self._flat, action, news)
            self._flat = fits or [_user(self._flat_head())]
            self._turns = self._turns if fits else 0

    def _executor_head(self) -> str:
        return self._fit(f"task: {flatten(self.task).lower()}", "", [], [self.state.text, self._last(), f"sub-goal: {self.subgoal}"], "")

    def _flat_head(self) -> str:
        recent = [f"{a} -> {r}" for a, r in zip(self.actions, self.replies, strict=True)][-FLAT_WINDOW:]
        return self._fit(f"task: {flatten(self.task).lower()}", "history", recent, [self.state.text, "next action?"], "\n")

    def _last(self) -> str:
        return f"last: {self.actions[-1]} -> {self.replies[-1]}" if self.actions else "last: none"

    def _fit(self, head: str, title: str, history: list[str], tail: list[str], separator: str) -> str:
        """Head, history and tail on lines of their own; as much of the latest history as the budget allows."""
        room_left = self.budget - LABEL - sum(len(part) + 1 for part in (head, title, *tail)) - len(" (99 earlier)")
        line, dropped = _latest(title, history, separator, room_left)
        self.shortened += dropped
        return "\n".join([head, *([line] if title else []), *tail])

    def _extended(self, conversation: list[Message], action: str, turn: str) -> list[Message]:
        """The conversation one turn on, or nothing where it would outgrow the budget and must open anew."""
        return self._within([*answered(conversation, action), _user(turn)])

    def _within(self, conversation: list[Message]) -> list[Message]:
        if sum(len(message["content"]) for message in conversation) > self.budget - LABEL:
            self.shortened += 1
            return []
        return conversation


@dataclass
class PaperTranscript(Transcript):
    """The same events, read in the paper's style: each prompt is one message with the whole state, and history is
    the latest actions with their replies, a sub-goal's end among them. Where the budget is short, the oldest of
    these go first and then the oldest completed sub-goals. The score, which the paper shows, is no event here."""

    version: ClassVar[str] = PAPER_VERSION
    budget: int = PAPER_BUDGET

    def __post_init__(self) -> None:
        self._known = self.state
        self._history: list[str] = []
        self._rooms = {room(self.state.look).lower(): None}

    def end(self, fate: str) -> None:
        self._history.append(f"{END} -> {self.subgoal} {'failed' if fate == 'stalled' else 'is done'}")
        super().end(fate)

    def planner(self, wrong: str = "") -> list[Message]:
        return self._whole([past.text for past in self.past], [f"went wrong: {_clip(wrong)}"] if wrong else [], "next sub-goal?")

    def executor(self) -> list[Message]:
        done = [past.text if past.fate == "stalled" else past.subgoal for past in self.past]
        return self._whole(done, [f"sub-goal: {self.subgoal}"], "next action?")

    def flat(self) -> list[Message]:
        return self._whole(None, [], "next action?")

    def reason(self, subgoal: str) -> str:
        return ""

    def begin(self, subgoal: str, why: str = "") -> None:
        self.subgoal, self.start, self._known = subgoal, len(self.actions), self.state

    def _go_on(self, before: State) -> None:
        self._history.append(f"{self.actions[-1]} -> {self.replies[-1]}")
        self._rooms[room(self.state.look).lower()] = None

    def _whole(self, past: list[str] | None, now: list[str], question: str) -> list[Message]:
        """One message; no line on completed sub-goals where ``past`` is None."""
        head = [f"task: {flatten(self.task).lower()}", f"time: {len(self.actions)}"]
        tail = [self.state.text, f"visited rooms: {', '.join(self._rooms)}", question]
        titles = ["done (99 earlier): nothing", "history (99 earlier): nothing"]
        room_left = self.budget - LABEL - sum(len(part) + 1 for part in head + titles + now + tail)
        done, fewer = _latest("done", past or [], "; ", room_left)
        history, shorter = _latest("history", self._history[-PAPER_HISTORY:], " | ", room_left - len(done))
        self.shortened += fewer or shorter
        return [_user("\n".join([*head, *([] if past is None else [done]), *now, history, *tail]))]


STYLES: dict[str, type[Transcript]] = {"turns": Transcript, "paper": PaperTranscript}
COMPOSERS = {style.version: style for style in STYLES.values()}
"""The transcript of each prompt version that can still be composed."""


def as_text(messages: list[Message], separator: str) -> str:
    """A conversation as one line, for a model that reads a text: ``separator`` for each line break, ``>`` before an answer."""
    lines = [f"> {m['content']}" if m["role"] == "assistant" else m["content"] for m in messages]
    return "\n".join(lines).replace("\n", f" {separator} ")


def answered(messages: list[Message], label: str) -> list[Message]:
    """A conversation and what the model writes next: a longer conversation, a training row."""
    return [*messages, {"role": "assistant", "content": label}]


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _latest(title: str, items: list[str], separator: str, room_left: int) -> tuple[str, bool]:
    """A line with as many of the latest items as there is room for, and whether some had to be dropped."""
    kept: list[str] = []
    for item in reversed(items):
        room_left -= len(item) + len(separator)
        if room_left < 0:
            break
        kept.insert(0, item)
    dropped = len(items) - len(kept)
    return f"{title}{f' ({dropped} earlier)' if dropped else ''}: {separator.join(kept) or 'nothing'}", dropped > 0


def _clip(text: str) -> str:
    return text if len(text) <= REPLY else text[: REPLY - 4] + " ..."


def _news(reply: str, before: State, after: State) -> str:
    """A reply and what else changed: the whole state in a new room, else the sights that were not there before."""
    if room(before.look) != room(after.look):
        return f"{reply}\n{after.text}"
    return "\n".join([reply, *_sighted(before, after)])


def _changes(before: State, after: State) -> list[str]:
    """What several actions changed: the whole state in a new room, else new sights and an inventory that is another."""
    if room(before.look) != room(after.look):
        return [after.text]
    return [*_sighted(before, after), *([after.carried] if after.carried != before.carried else [])]


def _sighted(before: State, after: State) -> list[str]:
    seen = set(sights(before.look))
    new = [sight for sight in sights(after.look) if sight not in seen]
    return [f"now: {'; '.join(new)}".lower()] if new else []
