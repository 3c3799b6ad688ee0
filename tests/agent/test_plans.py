"""Plans: each gives the sub-goals that it says, and noise replaces exactly the share that it says."""

import pytest

from sgd_hf.agent.plans import any_of, draws, noisy, other_arguments, recited
from sgd_hf.agent.policy import CHANCES, Act, Ask, Patience, Reply, guided, hierarchical, planned
from sgd_hf.core.prompts import END, State, Transcript
from sgd_hf.core.subgoals import Subgoal, parse
from sgd_hf.core.texts import ROOMS

LOOK = (
    "This room is called the hallway. In it, you see: \n\tthe agent\n\ta substance called air\n\ta red box (containing an orange)\n"
    "\ta table. On the table is: a glass cup.\nYou also see:\n\tA door to the kitchen (that is open)\n"
)
CARRIED = "In your inventory, you see:\n\tan orange\n"
VOCABULARY = ("examine(chair)", "focus_on(orange)", "navigate_to(kitchen)", "open(red box)", "wait(1)")


def transcript():
    return Transcript("Your task is to win.", State(LOOK, CARRIED))


def drive(policy, planner=(), executor=(END,), steps=40):
    """Run a policy against answers (the last one of each module repeats); what it asked and did, in order."""
    answers = {"planner": list(planner), "executor": list(executor)}
    asked, answer = [], None
    for _ in range(steps):
        try:
            request = policy.send(answer)
        except StopIteration:
            break
        if isinstance(request, Ask):
            asked.append(request.module)
            left = answers[request.module]
            answer = left.pop(0) if len(left) > 1 else left[0]
        else:
            assert isinstance(request, Act)
            asked.append(request)
            answer = Reply(f"You {request.action}.", LOOK, CARRIED, False)
    return asked


def lives(kept):
    return [(past.subgoal, past.end - past.start, past.fate) for past in kept.past]


def answers(plan, times, wrong=""):
    """What a plan answers, with a planner that goes through the vocabulary again and again."""
    said = []
    for number in range(times):
        running = plan(transcript(), wrong)
        answer = None
        try:
            while True:
                assert isinstance(running.send(answer), Ask)
                answer = VOCABULARY[number % len(VOCABULARY)]
        except StopIteration as stop:
            said.append(stop.value)
    return said


def test_the_planner_is_the_plan_unless_another_is_given():
    kept = transcript()
    asked = drive(hierarchical(kept, Patience(), planned), ["examine(chair)"], ["examine chair", END], 5)
    other = transcript()
    assert asked == drive(hierarchical(other, Patience()), ["examine(chair)"], ["examine chair", END], 5)
    assert lives(kept) == lives(other) == [("examine(chair)", 1, "ended")]


def test_a_recited_plan_never_asks_the_planner_and_stops_with_its_last_subgoal():
    kept = transcript()
    asked = drive(hierarchical(kept, Patience(), recited(["examine(chair)", "wait(1)"])), (), ["examine chair", END, "wait", END])
    assert lives(kept) == [("examine(chair)", 1, "ended"), ("wait(1)", 1, "reached")]
    assert "planner" not in asked


def test_a_recited_plan_goes_on_after_a_stall():
    kept = transcript()
    drive(hierarchical(kept, Patience(actions=2), recited(["examine(chair)", "wait(1)"])), (), ["open a", "open b", "wait", END])
    assert lives(kept) == [("examine(chair)", 2, "stalled"), ("wait(1)", 1, "reached")]


def test_every_step_asks_the_planner_before_every_action():
    kept = transcript()
    asked = drive(hierarchical(kept, Patience(), every_step=True), ["examine(chair)"], ["a", "b", "c"], 9)
    assert asked == ["planner", "executor", Act("a"), "planner", "executor", Act("b"), "planner", "executor", Act("c")]
    assert kept.subgoal == "examine(chair)" and not kept.past


def test_every_step_replaces_a_subgoal_by_another_answer_without_asking_again():
    kept = transcript()
    asked = drive(hierarchical(kept, Patience(), every_step=True), ["examine(chair)", "Examine( the chair )", "wait(1)"], ["a"], 9)
    assert asked == ["planner", "executor", Act("a")] * 3
    assert lives(kept) == [("examine(chair)", 2, "replaced")] and kept.subgoal == "wait(1)"


def test_every_step_keeps_the_subgoal_where_the_planner_writes_none():
    kept = transcript()
    drive(hierarchical(kept, Patience(), every_step=True), ["examine(chair)", "nonsense"], ["a"], 9)
    assert kept.subgoal == "examine(chair)" and not kept.past


SEGMENTS = [("examine(chair)", ("examine chair", "look")), ("wait(1)", ("wait",)), ("open(red box)", ("open box",))]


def test_a_guided_plan_that_agrees_plays_the_gold_path_to_its_end():
    kept = transcript()
    asked = drive(guided(kept, SEGMENTS), ["examine(chair)", "WAIT(1)", "open(the red box)"])
    assert [request.action for request in asked if isinstance(request, Act)] == ["examine chair", "look", "wait", "open box"]
    assert lives(kept) == [("examine(chair)", 2, "ended"), ("wait(1)", 1, "ended"), ("open(red box)", 1, "ended")]


def test_a_guided_plan_is_given_up_at_the_first_difference():
    kept = transcript()
    asked = drive(guided(kept, SEGMENTS), ["examine(chair)", "wait(2)", "open(red box)"])
    assert asked == ["planner", Act("examine chair"), Act("look"), "planner"]
    assert lives(kept) == [("examine(chair)", 2, "ended"), ("wait(2)", 0, "differs")]
    kept = transcript()
    assert drive(guided(kept, SEGMENTS), ["nonsense"]) == ["planner"] and not kept.past


CORRUPTIONS = {"vocabulary": any_of(VOCABULARY), "argument": other_arguments}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_noise_of_rate_0_changes_nothing_and_of_rate_1_leaves_nothing(kind):
    plain = answers(planned, 50)
    assert answers(noisy(planned, 0.0, CORRUPTIONS[kind], draws(0)), 50) == plain
    changed = answers(noisy(planned, 1.0, CORRUPTIONS[kind], draws(0)), 50)
    assert all(one != other for one, other in zip(plain, changed, strict=True))
    assert all(parse(answer) for answer in changed)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_of_noise_is_true(rate):
    plain, changed = answers(planned, 4000), answers(noisy(planned, rate, any_of(VOCABULARY), draws("rate")), 4000)
    share = sum(one != other for one, other in zip(plain, changed, strict=True)) / 4000
    assert abs(share - rate) < 0.03  # four standard deviations


def test_noise_is_a_function_of_the_seed_and_the_episode():
    def run(*seed):
        return answers(noisy(planned, 0.5, any_of(VOCABULARY), draws(*seed)), 60)

    assert run(0, "boil/1") == run(0, "boil/1")
    assert len({tuple(run(seed, key)) for seed in (0, 1) for key in ("boil/1", "boil/2")}) == 4


def test_noise_leaves_what_is_no_subgoal_and_the_end_of_a_plan():
    def plan(transcript, wrong):
        return (yield Ask("planner", []))

    def said(answer):
        running = noisy(plan, 1.0, other_arguments, draws(0))(transcript(), "")
        next(running)
        with pytest.raises(StopIteration) as stop:
            running.send(answer)
        return stop.value.value

    assert said("nonsense") == "nonsense" and said(None) is None and said("examine(chair)") != "examine(chair)"


def test_wrong_arguments_are_things_in_sight_and_rooms_for_rooms():
    draw = draws("things")
    found = {other_arguments(Subgoal("put", ("chair", "table")), transcript(), draw) for _ in range(200)}
    things = {"red box", "table", "orange"}
    assert {parse(text).args[0] for text in found} == things
    assert {parse(text).args[1] for text in found} == things - {"table"}
    rooms = {other_arguments(Subgoal("navigate_to", ("kitchen",)), transcript(), draw) for _ in range(200)}
    assert rooms == {f"navigate_to({room})" for room in ROOMS if room != "kitchen"}
    empty = Transcript("Your task is to win.", State("This room is called the hallway. In it, you see: \n", ""))
    assert parse(other_arguments(Subgoal("examine", ("chair",)), empty, draw)).args[0] in ROOMS


def test_a_noisy_plan_of_nonsense_is_given_up_like_any_other():
    asked = drive(hierarchical(transcript(), Patience(), noisy(planned, 1.0, any_of(VOCABULARY), draws(0))), ["nonsense"])
    assert asked == ["planner"] * CHANCES
