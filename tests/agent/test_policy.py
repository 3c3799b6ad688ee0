"""The life of a sub-goal (contract 4), without a model and without a simulator."""

import pytest

from sgd_hf.agent.policy import CHANCES, Act, Ask, Patience, Reply, Valid, flat, hierarchical
from sgd_hf.core.prompts import COMPLETE, END, State, Transcript

KITCHEN, HALLWAY = (f"This room is called the {room}. In it, you see: \n\tthe agent\n" for room in ("kitchen", "hallway"))
NO = "No known action matches that input."


def drive(policy, patience, script, valid=(), steps=50):
    """Run a policy against a script: for each module a list of answers (the last one repeats), for each action a
    reply; what it requested in order, and the transcript."""
    transcript = Transcript("Your task is to win.", State(HALLWAY, ""))
    answers = {name: list(script.get(name, [])) for name in ("planner", "executor", "flat")}
    requests, answer = [], None
    running = policy(transcript, patience)
    for _ in range(steps):
        try:
            request = running.send(answer)
        except StopIteration:
            return requests, transcript
        requests.append(request)
        if isinstance(request, Valid):
            answer = list(valid)
        elif isinstance(request, Ask):
            if request.among:
                answer = request.among[0]
            else:
                left = answers[request.module]
                answer = left.pop(0) if len(left) > 1 else left[0]
        else:
            replied = script.get("replies", {}).get(request.action, f"You {request.action}.")
            answer = Reply(replied, KITCHEN if request.action == "teleport to kitchen" else HALLWAY, "", replied == NO)
    return requests, transcript


def planner_prompts(requests):
    """The planner's questions, each the last turn of its conversation."""
    return [r.messages[-1]["content"] for r in requests if isinstance(r, Ask) and r.module == "planner"]


def fates(transcript):
    return [(past.subgoal, past.end - past.start, past.fate) for past in transcript.past]


def test_end_closes_a_subgoal_and_the_planner_is_asked_what_is_next():
    script = {"planner": ["examine(chair)", "wait(1)"], "executor": ["examine chair", END, "wait", END]}
    requests, transcript = drive(hierarchical, Patience(), script, steps=12)
    assert fates(transcript)[:2] == [("examine(chair)", 1, "ended"), ("wait(1)", 1, "reached")]
    assert [type(r).__name__ for r in requests[:4]] == ["Ask", "Ask", "Act", "Ask"]
    assert "went wrong" not in planner_prompts(requests)[1]
    assert all(r.never == COMPLETE for r in requests if isinstance(r, Ask) and r.module == "planner")


@pytest.mark.parametrize("postconditions", [True, False])
def test_a_postcondition_that_holds_ends_it_without_asking(postconditions):
    script = {"planner": ["navigate_to(kitchen)"], "executor": ["teleport to kitchen", END]}
    requests, transcript = drive(hierarchical, Patience(postconditions=postconditions), script, steps=5)
    assert fates(transcript)[:1] == [("navigate_to(kitchen)", 1, "reached" if postconditions else "ended")]
    assert sum(isinstance(r, Ask) and r.module == "executor" for r in requests[:4]) == (1 if postconditions else 2)


@pytest.mark.parametrize("waits, actions", [(["wait1"], 3), (["wait"], 1), (["wait1", "look", "wait1"], 4)])
def test_a_wait_ends_when_it_is_over_and_not_before(waits, actions):
    script = {"planner": ["wait(3)"], "executor": [*waits]}
    requests, transcript = drive(hierarchical, Patience(), script, steps=2 + 2 * actions)
    assert fates(transcript) == [("wait(3)", actions, "reached")]
    assert all(r.never == END for r in requests if isinstance(r, Ask) and r.module == "executor")


def test_without_postconditions_the_executor_says_when_a_wait_is_over():
    script = {"planner": ["wait(3)"], "executor": ["wait1", END]}
    assert fates(drive(hierarchical, Patience(postconditions=False), script, steps=5)[1]) == [("wait(3)", 1, "ended")]


def test_a_canonical_subgoal_is_what_the_executor_reads():
    requests, transcript = drive(hierarchical, Patience(), {"planner": ["Pick_Up( The Thermometer )"], "executor": [END]}, steps=2)
    assert requests[1].messages[-1]["content"].endswith("\nsub-goal: pick_up(thermometer)")


def test_a_reason_stays_with_the_planner():
    """It is in the planner's conversation, and the executor is given the sub-goal alone."""
    script = {"planner": ["nothing is on, it is cold: pick_up( The Thermometer )"], "executor": ["pick up thermometer", END]}
    requests, transcript = drive(hierarchical, Patience(), script, steps=5)
    assert (transcript.past[0].subgoal, transcript.past[0].why) == ("pick_up(thermometer)", "nothing is on, it is cold")
    assert requests[1].messages[-1]["content"].endswith("\nsub-goal: pick_up(thermometer)")
    assert {"role": "assistant", "content": "nothing is on, it is cold: pick_up(thermometer)"} in requests[4].messages


STALLS = {
    "budget": (Patience(actions=3), [f"open {n}" for n in range(9)], {}, 3, "took more than 3 actions"),
    "rejections": (Patience(repair=False), ["open a", "open b", "open c"], {"open a": NO, "open b": NO}, 2, f"open b -> {NO}"),
    "repeats": (Patience(), ["open a"], {"open a": "It is stuck."}, 4, "open a -> It is stuck."),
    "refused": (Patience(actions=6, rejections=9, repair=False), ["wait"], {"wait": NO}, 6, "took more than 6 actions"),
}


@pytest.mark.parametrize("case", STALLS)
def test_a_stalled_subgoal_is_stopped_and_the_planner_told_why(case):
    patience, actions, replies, after, wrong = STALLS[case]
    script = {"planner": ["examine(a)"], "executor": actions, "replies": replies}
    requests, transcript = drive(hierarchical, patience, script, steps=2 * after + 3)
    assert fates(transcript)[0] == ("examine(a)", after, "stalled")
    second = planner_prompts(requests)[1]
    assert second.endswith(f"\nwent wrong: examine(a){'' if 'took' in wrong else ':'} {wrong}")


@pytest.mark.parametrize("action", ["wait", "look at a"])
def test_time_that_passed_under_a_subgoal_ends_it_and_nothing_went_wrong(action):
    requests, transcript = drive(hierarchical, Patience(actions=6), {"planner": ["examine(a)"], "executor": [action]}, steps=15)
    assert fates(transcript)[0] == ("examine(a)", 6, "ended")
    assert "went wrong" not in planner_prompts(requests)[1]


def test_a_rejection_in_between_does_not_count():
    replies = {"open a": NO}
    script = {"planner": ["examine(a)"], "executor": ["open a", "open b", "open a", "open b", "open a", END], "replies": replies}
    _, transcript = drive(hierarchical, Patience(repair=False), script, steps=14)
    assert fates(transcript)[0] == ("examine(a)", 5, "ended")


@pytest.mark.parametrize("module", ["executor", "flat"])
def test_a_rejected_action_is_chosen_again_among_valid_ones_of_its_verb(module):
    policy = hierarchical if module == "executor" else flat
    script = {"planner": ["examine(a)"], module: ["open dor", END if module == "executor" else "wait"], "replies": {"open dor": NO}}
    valid = ["open door", "open cupboard", "close door", "opening x", "open dor"]
    requests, transcript = drive(policy, Patience(), script, valid, steps=8)
    at = next(i for i, r in enumerate(requests) if isinstance(r, Valid))
    assert requests[at - 1] == Act("open dor")
    assert requests[at + 1].among == ("open cupboard", "open door") and requests[at + 1].module == module
    assert requests[at + 2] == Act("open cupboard", repaired=True)
    assert transcript.actions[:2] == ["open dor", "open cupboard"]
    assert sum(isinstance(r, Valid) for r in requests) == 1
    assert "open dor" in str(requests[at + 1].messages), "the model has seen the rejection when it chooses again"


@pytest.mark.parametrize(
    ("action", "patience", "valid"),
    [
        ("focus on box", Patience(), ["focus on red box"]),
        ("open x", Patience(repair=False), ["open y"]),
        ("open x", Patience(), ["close x"]),
    ],
    ids=["focus", "switched off", "nothing of the verb"],
)
def test_what_is_never_repaired(action, patience, valid):
    script = {"planner": ["examine(a)"], "executor": [action, END], "replies": {action: NO}}
    requests, transcript = drive(hierarchical, patience, script, valid, steps=6)
    assert transcript.actions == [action]
    assert not any(isinstance(r, Act) and r.repaired for r in requests)
    assert any(isinstance(r, Valid) for r in requests) == (valid == ["close x"])


def test_valid_actions_are_asked_for_after_a_rejection_only():
    script = {"planner": ["examine(a)"], "executor": ["wait", "look", "wait", END]}
    requests, _ = drive(hierarchical, Patience(), script, ["wait"])
    assert not any(isinstance(r, Valid) for r in requests)


@pytest.mark.parametrize("answer", ["I am a teapot", "", "boil(water)", "pick_up()", "pick_up(a(b)"])
def test_a_planner_that_writes_nothing_usable_is_told_so_and_then_given_up(answer):
    requests, transcript = drive(hierarchical, Patience(), {"planner": [answer]})
    prompts = planner_prompts(requests)
    assert len(prompts) == len(requests) == CHANCES and not transcript.actions
    assert "went wrong" not in prompts[0] and all("\nwent wrong: " in prompt for prompt in prompts[1:])


def test_chances_are_counted_in_a_row():
    planner = ["nonsense", "nonsense", "examine(a)", "nonsense", "nonsense", "examine(a)", "nonsense"]
    script = {"planner": planner, "executor": ["examine a", END, "examine a", END]}
    requests, transcript = drive(hierarchical, Patience(), script)
    assert len(planner_prompts(requests)) == 9 and fates(transcript) == [("examine(a)", 1, "ended")] * 2


def test_subgoals_ended_without_an_action_use_up_the_chances():
    requests, transcript = drive(hierarchical, Patience(), {"planner": ["examine(a)"], "executor": [END]})
    assert len(planner_prompts(requests)) == CHANCES
    assert "went wrong: examine(a) ended without an action" in planner_prompts(requests)[1]


def test_flat_goes_on_for_ever():
    requests, transcript = drive(flat, Patience(), {"flat": ["wait"]}, steps=41)
    assert len(transcript.actions) == 20 and {r.module for r in requests if isinstance(r, Ask)} == {"flat"}
