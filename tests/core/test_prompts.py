"""Prompts fit their budget, and only the oldest history goes (contract 3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_hf.core.prompts import FLAT_WINDOW, LABEL, PAPER_HISTORY, STYLES, PaperTranscript, State, Transcript, answered, as_text, flatten

LOOK = "This room is called the {}. In it, you see: \n\tthe agent\n\ta {}\nYou also see:\n\tA door to the hallway (that is open)\n"
names = st.sampled_from(["kitchen", "workshop", "hallway"])
things = st.sampled_from(["metal pot", "stove, which is turned off. On the stove is: nothing.", "thermometer"])
states = st.builds(lambda room, thing: State(LOOK.format(room, thing), "In your inventory, you see:\n\tan orange\n"), names, things)
acts = st.tuples(st.just("act"), st.sampled_from(["wait", "pick up orange", "teleport to kitchen"]), st.text(max_size=500), states)
ends = st.tuples(st.just("end"), st.sampled_from(["ended", "reached", "stalled"]))
begins = st.tuples(st.just("begin"), st.sampled_from(["measure(ice)", "navigate_to(kitchen)", "wait(5)"]))
TASK = "Your task is to find a(n) living thing."


def played(events, budget, style=Transcript):
    """A transcript after some events, and its prompts on the way; events that cannot follow are left out."""
    transcript = style(TASK, State(LOOK.format("kitchen", "chair"), ""), budget)
    prompts = []
    for kind, *rest in events:
        if kind == "act":
            transcript.act(*rest)
        elif kind == "end" and transcript.subgoal:
            transcript.end(*rest)
        elif kind == "begin" and not transcript.subgoal:
            transcript.begin(*rest)
        prompts += [("planner", transcript.planner()), ("flat", list(transcript.flat()))]
        if transcript.subgoal:
            prompts.append(("executor", list(transcript.executor())))
    return transcript, prompts


@given(st.lists(acts | begins | ends, max_size=40), st.sampled_from([1200, 1500, 5000]))
def test_prompts_fit_and_keep_task_state_and_subgoal(events, budget):
    transcript, prompts = played(events, budget)
    for module, messages in prompts:
        assert sum(len(message["content"]) for message in messages) <= budget - LABEL
        assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2) + ["user"]
        first, last = messages[0]["content"], messages[-1]["content"]
        assert first.startswith(f"task: {TASK.lower()}\n") and "\nroom: " in first and "\ninventory: " in first
        assert first.endswith("\nnext sub-goal?") and "last: " in last or module != "planner"
        assert "\nsub-goal: " in last or module != "executor"
        assert first.endswith("next action?") and len(messages) <= 2 * FLAT_WINDOW or module != "flat"


@given(st.lists(acts | begins | ends, max_size=40))
def test_what_is_dropped_is_the_oldest(events):
    transcript, _ = played(events, 1200)
    head, *turns = transcript.planner()
    later = [message["content"] for message in turns if message["role"] == "assistant"]
    begun = [past.subgoal for past in transcript.past] + [transcript.subgoal] * bool(transcript.subgoal)
    earlier = len(begun) - len(later) if later else len(transcript.past)
    whole = [past.text for past in transcript.past][:earlier]
    done = head["content"].split("\ndone", 1)[1].split("\nroom: ", 1)[0]
    count, listed = done.split(": ", 1)
    dropped = int("".join(filter(str.isdigit, count)) or 0)
    assert listed == ("; ".join(whole[dropped:]) or "nothing")
    assert later == (begun[earlier:] if later else [])


@given(st.lists(acts | begins | ends, max_size=40), st.sampled_from([1300, 1600, 5000]))
def test_the_papers_prompts_are_one_message_with_all_but_the_oldest(events, budget):
    transcript, prompts = played(events, budget, PaperTranscript)
    for module, (message,) in prompts:
        content = message["content"]
        assert len(content) <= budget - LABEL and message["role"] == "user"
        head, *lines = content.split("\n")
        names = [line.split(" ", 1)[0].rstrip(":") for line in lines]
        own = {"planner": ["time", "done"], "executor": ["time", "done", "sub-goal"], "flat": ["time"]}[module]
        assert head == f"task: {TASK.lower()}" and names == [*own, "history", "room", "inventory", "visited", "next"]
    content = transcript.planner()[0]["content"]
    assert transcript.state.text in content and f"\ntime: {len(transcript.actions)}\n" in content
    happened = []
    for i in range(len(transcript.actions) + 1):
        ends = [past for past in transcript.past if past.end == i]
        happened += [f"END -> {past.subgoal} {'failed' if past.fate == 'stalled' else 'is done'}" for past in ends]
        happened += [f"{transcript.actions[i]} -> {transcript.replies[i]}"] if i < len(transcript.actions) else []
    whole = {"done": "; ".join(past.text for past in transcript.past), "history": " | ".join(happened[-PAPER_HISTORY:])}
    for line in content.split("\n"):
        name, _, rest = line.partition(": ")
        if name in whole:
            assert rest == (whole[name] or "nothing")
        elif name.split(" (")[0] in whole:
            assert whole[name.split(" (")[0]].endswith("" if rest == "nothing" else rest)


def test_the_paper_shows_ends_and_rooms_in_order():
    events = [("begin", "measure(ice)"), ("act", "use thermometer on ice", "-3 degrees", State(LOOK.format("hallway", "chair"), ""))]
    events += [("end", "ended"), ("begin", "navigate_to(kitchen)"), ("act", "WAIT", "You wait.", State(LOOK.format("kitchen", "a"), ""))]
    transcript, _ = played(events, 5000, PaperTranscript)
    prompt = transcript.executor()[0]["content"]
    assert "\ntime: 2\ndone: measure(ice)\nsub-goal: navigate_to(kitchen)\n" in prompt
    assert "\nhistory: use thermometer on ice -> -3 degrees | END -> measure(ice) is done | wait -> you wait.\n" in prompt
    assert "\nvisited rooms: kitchen, hallway\nnext action?" in prompt
    transcript.end("stalled")
    prompt = transcript.planner("no door")[0]["content"]
    assert "\ndone: measure(ice) -> -3 degrees; navigate_to(kitchen) (failed)\nwent wrong: no door\n" in prompt
    assert " | END -> navigate_to(kitchen) failed\n" in prompt and "sub-goal: " not in prompt.replace("next sub-goal?", "")


def test_a_style_is_known_by_its_version():
    assert {name: style.version for name, style in STYLES.items()} == {"turns": "3", "paper": "paper-1"}


def test_a_conversation_as_text_keeps_every_word():
    messages = [{"role": "user", "content": "task: boil\nroom: kitchen"}, *answered([], "wait"), {"role": "user", "content": "you wait."}]
    assert as_text(messages, "</s>") == "task: boil </s> room: kitchen </s> > wait </s> you wait."


@pytest.mark.parametrize("style", [Transcript, PaperTranscript])
@given(events=st.lists(acts | begins | ends, max_size=30))
def test_a_prompt_depends_on_the_events_alone(style, events):
    def without_looking(budget):
        transcript = style(TASK, State(LOOK.format("kitchen", "chair"), ""), budget)
        for kind, *rest in events:
            if kind == "act" or (kind == "end") == bool(transcript.subgoal):
                getattr(transcript, kind)(*rest)
        return transcript

    transcript, _ = played(events, 1500, style)
    assert transcript.planner("it failed") == without_looking(1500).planner("it failed")
    if transcript.subgoal:
        assert transcript.executor() == without_looking(1500).executor()


def test_an_outcome_stays_where_a_subgoal_was_pursued_for_it():
    events = [("begin", "measure(ice)"), ("act", "use thermometer on ice", "-3 degrees", State("", "")), ("end", "ended")]
    events += [("begin", "navigate_to(kitchen)"), ("act", "wait", "You wait.", State("", "")), ("end", "stalled")]
    transcript, _ = played(events, 1300)
    while len(transcript.planner()) > 1:  # until the conversation opens anew, with all that was done
        transcript.begin("wait(5)")
        transcript.end("ended")
    prompt = transcript.planner("no door")[0]["content"]
    assert "\ndone: measure(ice) -> -3 degrees; navigate_to(kitchen) (failed); wait(5)" in prompt
    assert "\nwent wrong: no door\nnext sub-goal?" in prompt


def test_a_planner_is_told_what_a_subgoal_changed():
    hall = State(LOOK.format("hallway", "painting"), "In your inventory, you see:\n\tan orange\n")
    transcript = Transcript(TASK, State(LOOK.format("kitchen", "chair"), ""))
    first = transcript.planner()
    transcript.begin("activate(stove)")
    for look in ("stove, which is turned off", "stove, which is turned on"):
        transcript.act("activate stove", "The stove  is\nnow on.", State(LOOK.format("kitchen", look), hall.inventory))
    transcript.end("ended")
    told = "last: activate stove -> the stove is now on.\nnow: stove (on)\ninventory: orange"
    assert transcript.planner() == [*answered(first, "activate(stove)"), {"role": "user", "content": told}]
    transcript.begin("navigate_to(hallway)")
    transcript.act("teleport to hallway", "You teleport.", hall)
    transcript.end("reached")
    assert transcript.planner("late")[-1]["content"] == f"last: teleport to hallway -> you teleport.\n{hall.text}\nwent wrong: late"


def test_a_turn_says_what_is_new():
    transcript = Transcript(TASK, State(LOOK.format("kitchen", "chair"), ""))
    transcript.begin("activate(stove)")
    transcript.act("activate stove", "The stove  is\nnow on.", State(LOOK.format("kitchen", "stove, which is turned on"), ""))
    assert transcript.executor()[-1]["content"] == "the stove is now on.\nnow: stove (on)\nsub-goal: activate(stove)"
    transcript.act("go to hallway", "You move.", State(LOOK.format("hallway", "painting"), ""))
    assert transcript.executor()[-1]["content"] == f"you move.\n{transcript.state.text}\nsub-goal: activate(stove)"


@pytest.mark.parametrize("text", ["", "x", " a\n b "])
def test_an_answered_prompt_is_the_prompt_and_the_label(text):
    messages = [{"role": "user", "content": flatten(text)}]
    assert answered(messages, "END") == [*messages, {"role": "assistant", "content": "END"}] and len(messages) == 1
