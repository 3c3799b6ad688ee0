"""The page says what the results say, loads nothing, runs nothing that was not ours, and shows every episode it promises."""

import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from sgd_hf.core.errors import InputError
from sgd_hf.core.records import Rollout, Step, SubgoalTrace
from sgd_hf.evaluation import match
from sgd_hf.evaluation.figures import score_curve
from sgd_hf.evaluation.report import overview, print_results, replays, verdict, write_report
from sgd_hf.evaluation.scoring import summarise, within
from sgd_hf.scienceworld.tasks import episode

HOSTILE = '</script><b onclick="alert(1)">\u2028 & <!-- \ud800'


def rollout(arm="hierarchical", task="find-plant", variation=0, scores=(0, 50, 100), stop="success", text="You see a plant."):
    look = "This room is called the kitchen. In it, you see:\n\tthe agent\n"
    steps = tuple(Step(f"look at plant {i}", text, look, "nothing", s, 3 * i, False) for i, s in enumerate(scores, 1))
    goals = (SubgoalTrace("focus_on(plant)", 0, len(steps), "ended"),) if arm == "hierarchical" else ()
    last = scores[-1] if scores else 0
    start = {"look": look.replace("kitchen", "hallway"), "inventory": "an orange"}
    return Rollout(episode(task, variation), arm, f"Find {text}", steps, goals, max(last, 0), last, max([0, *scores]), stop, 0, 0, **start)


def some():
    return [
        *(rollout(variation=v) for v in range(3)),
        rollout(task="boil", scores=(0, 7, -100), stop="failure"),
        *(rollout("flat", variation=v, scores=(0, 17 * v), stop="move_limit") for v in range(3)),
        rollout("flat", "boil", scores=(2, 2), stop="no_progress"),
        rollout("do-nothing", scores=(), stop="gave_up"),
        rollout("my <own> agent", scores=(33,), stop="error"),
    ]


def results_of(rollouts, **more):
    return {
        "protocol": {"name": "smoke", "digest": "abc123", "limit": 20, "simplification": "easy", "episodes": 4},
        "seed": 0, "versions": {"python": "3.11"}, "commit": "none", "teacher": "rules", "note": "Tiny & honest.",
        "arms": summarise(rollouts), **more,
    }  # fmt: skip


TRAINING = {"flat": {"parameters": 1234567, "train_tokens": 7654321, "steps": 9, "final_loss": 0.125, "seconds": 61.0, "losses": [[1, 4.0], [9, 0.1]]}}  # fmt: skip


class Page(HTMLParser):
    """What a browser would see: elements with attributes, cells by their field, and the text of scripts."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.cells, self.scripts, self.text, self._field, self._script = [], {}, [], "", None, False
        self.feed(html)
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._field = dict(attrs).get("data-field", self._field if tag == "code" else None)
        if tag == "script":
            self._script = True
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._script = self._script and tag != "script"
        self._field = None

    def handle_data(self, data):
        if self._script:
            self.scripts[-1] += data
        else:
            self.text += data
            if self._field:
                self.cells[self._field] = data


@pytest.fixture
def page(tmp_path):
    def write(rollouts, **more):
        write_report(results_of(rollouts, **more), rollouts, tmp_path / "new" / "report.html")
        return Page((tmp_path / "new" / "report.html").read_text("utf-8"))

    return write


def test_every_number_of_the_overview_is_a_field_of_the_results(page):
    rollouts = some()
    arms = results_of(rollouts)["arms"]
    cells = page(rollouts).cells
    for arm, summary in arms.items():
        shown = {key.removeprefix(f"arms.{arm}."): value for key, value in cells.items() if key.startswith(f"arms.{arm}.")}
        assert shown["macro"] == f"{summary['macro']:.1f}"
        assert shown.get("interval", "") == within(summary["interval"])
        assert (
            shown["success"] == f"{100 * summary['success']:.0f} %"
            and shown["rejected_share"] == f"{100 * summary['rejected_share']:.0f} %"
        )
        for count in ("episodes", "failures", "errors"):
            assert shown[count] == str(summary[count])
        for length, value in summary["classes"].items():
            assert shown[f"classes.{length}"] == ("–" if value is None else f"{value:.1f}")
        for field in ("diagnosis", "stops"):
            counts = {key.removeprefix(f"{field}."): int(value) for key, value in shown.items() if key.startswith(f"{field}.")}
            assert {key: value for key, value in counts.items() if value} == summary[field]
        for field, value in (summary["subgoals"] or {}).items():
            if field == "fates":
                assert shown["subgoals.fates"] == ", ".join(f"{number} {fate}" for fate, number in value.items())
            else:
                as_share = "–" if value is None else f"{100 * value:.0f} %"
                assert shown[f"subgoals.{field}"] == (f"{value:.1f}" if field in ("per_episode", "actions_each") else as_share)
        assert summary["subgoals"] or not any(key.startswith("subgoals") for key in shown)
        for task, row in summary["tasks"].items():
            assert shown[f"tasks.{task}.score"] == f"{row['score']:.1f}"
    assert (cells["protocol.name"], cells["protocol.digest"], cells["protocol.episodes"]) == ("smoke", "abc123", "4")
    assert cells["teacher"] == "rules"


def test_the_terminal_table_and_the_page_agree_and_rank_by_macro():
    results = results_of(some())
    console = Console(file=io.StringIO(), width=200)
    print_results(results, console)
    rows = overview(results)
    lines = [line for line in console.file.getvalue().splitlines() if any(line.strip().startswith(arm) and "–" in line for arm, _ in rows)]
    macros = [results["arms"][arm]["macro"] for arm, _ in rows]
    assert macros == sorted(macros, reverse=True)
    for line, (arm, cells) in zip(lines, rows, strict=True):
        assert line.strip().startswith(arm)
        assert all(cells[field] in line for field in ("macro", "interval", "success", "classes.short", "rejected_share", "failures"))


def test_the_page_loads_nothing_and_forbids_loading(page):
    shown = page(some(), training=TRAINING)
    for tag, attributes in shown.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "image")
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
        assert not re.search(r"url\((?!#)", attributes.get("style", "") or "")
    assert "default-src 'none'" in next(a["content"] for t, a in shown.elements if t == "meta" and "http-equiv" in a)
    assert not re.search(r"https?://|@import", "".join(shown.scripts[1:]) + str(shown.elements))


def test_hostile_text_is_shown_and_never_run(page, tmp_path):
    shown = page([rollout(text=HOSTILE), rollout(f"$a${HOSTILE[:-1]}", text=HOSTILE)], note=HOSTILE)
    assert not [a for t, a in shown.elements if t == "b" and "onclick" in a] and len(shown.scripts) == 2
    data = shown.data
    assert {"".join(data["lines"][line] for line in data["texts"][e["steps"][0][1]]) for e in data["episodes"]} == {
        "".join(HOSTILE.splitlines())
    }
    assert data["episodes"][0]["description"] == f"Find {HOSTILE}"


def test_identifiers_are_unique_and_no_stand_in_colour_is_left(page, tmp_path):
    shown = page(some(), training=TRAINING)
    identifiers = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    html = (tmp_path / "new" / "report.html").read_text("utf-8")
    assert not re.search(r"#0[ab]0[0-9a-b]0[0-9a-e]", html)


def test_every_episode_that_fits_is_in_the_replay_and_a_hierarchical_success_comes_first(page):
    rollouts = some()
    shown = page(rollouts)
    assert {e["key"] for e in shown.data["episodes"]} == {r.key for r in rollouts}
    assert (shown.data["episodes"][0]["arm"], shown.data["episodes"][0]["score"]) == ("hierarchical", 100)
    assert f"All {len(rollouts)} episodes are here" in shown.text
    assert [label for label, _ in shown.data["picks"]["hierarchical"]] == ["best", "worst", "failed otherwise"]


def test_replay_data_gives_back_the_rollout():
    rollouts = some()
    data = replays(rollouts, results_of(rollouts)["arms"], 10**6)
    by_key = {r.key: r for r in rollouts}

    def text(index):
        return "\n".join(data["lines"][line] for line in data["texts"][index])

    for shown in data["episodes"]:
        lived = by_key[shown["key"]]
        assert tuple(map(text, shown["start"])) == (lived.look.rstrip("\n"), lived.inventory)
        assert [s[0] for s in shown["steps"]] == [s.action for s in lived.steps]
        assert [(text(s[1]), text(s[2]), text(s[3])) for s in shown["steps"]] == [
            (s.observation, s.look.rstrip("\n"), s.inventory) for s in lived.steps
        ]
        assert [tuple(s[4:6]) for s in shown["steps"]] == [(s.score, s.moves) for s in lived.steps]
        assert [tuple(g) for g in shown["subgoals"]] == [dataclasses.astuple(g) for g in lived.subgoals]
    assert len(data["texts"]) == len(set(map(tuple, data["texts"]))) and len(data["lines"]) == len(set(data["lines"]))


def test_episodes_beyond_the_room_are_left_out_and_picks_point_only_at_those_shown():
    rollouts = [rollout(arm, variation=v, text=f"{arm} {v} " + "x" * 500) for arm in ("flat", "hierarchical") for v in range(40)]
    data = replays(rollouts, ["flat", "hierarchical"], room=20_000)
    kept = {e["key"] for e in data["episodes"]}
    assert 0 < len(kept) < 80 and len(json.dumps(data)) < 25_000
    assert {e["arm"] for e in data["episodes"]} == {"flat", "hierarchical"}
    assert {key for picks in data["picks"].values() for _, key in picks} <= kept


def test_the_page_says_when_it_does_not_hold_every_episode(page, monkeypatch):
    monkeypatch.setattr("sgd_hf.evaluation.report.REPLAY_BYTES", 1200)
    shown = page(some())
    held = len(shown.data["episodes"])
    assert 0 < held < 10 and f"holds {held} of 10 episodes" in shown.text


def test_score_curves_end_at_the_score_of_the_arm():
    rollouts = [r for r in some() if r.arm == "hierarchical"]
    line = score_curve(rollouts, 20)
    assert line[-1] == pytest.approx(summarise(rollouts)["hierarchical"]["macro"]) and line[0] == 0
    assert line[6] == pytest.approx((50 + 7) / 2), "after 6 moves: 50 on find-plant, 7 on boil"


def test_training_and_stages_may_be_absent_and_are_shown_when_present(page):
    assert "Training loss" not in page(some()).text
    shown = page(some(), training=TRAINING, stages={"train": 490.0}, corpus={"paths": 640})
    assert "Training loss" in shown.text and "1 234 567" in shown.text and "0.125" in shown.text
    assert "train 8.2 min" in shown.text and "640" in shown.text


def test_agreement_with_the_annotation_is_shown_where_it_was_measured(page):
    rows = [{"task": "boil", "expected": "wait(1)", "answer": answer} for answer in ("wait(1)", "wait(2)", "?", "use(cup)")]
    found = {"agent": "mine", "teacher": "rules", **match.summarise(rows)}
    assert "Planner against the annotation" not in page(some()).text
    shown = page(some(), match=[found])
    assert "mine, teacher rules" in shown.text
    fields = ("subgoals", "parsed", "verb_match", "exact_match")
    assert [shown.cells[f"match.0.{field}"] for field in fields] == ["4", "75 %", "50 %", "25 %"]
    assert shown.cells["match.0.tasks.boil.exact_match"] == "25 %"


def test_the_verdict_does_not_flatter():
    arms = summarise([rollout(scores=(10,)), *(rollout("nearest", scores=(90,)), rollout("random-valid", scores=(10,)))])
    said = verdict(arms)
    assert "below nearest (90.0)" in said and "level with random-valid (10.0, intervals overlap)" in said
    assert "what chance did is not known" in said
    close = summarise(
        [rollout(name, scores=(60 + 10 * v + won,), variation=v) for name, won in (("hierarchical", 2), ("flat", 0)) for v in range(3)]
    )
    assert "above flat (70.0, intervals overlap)" in verdict(close)
    assert "above flat (70.0; on the same episodes +2.0, 95 % +1.0 to +3.0)" in verdict(close, {"difference": 2, "interval": [1, 3]})
    spread = summarise([rollout(scores=(value,), variation=value) for value in (10, 90)])
    assert "chance" not in verdict(spread)
    assert verdict({k: v for k, v in arms.items() if k != "hierarchical"}) == ""


def test_no_episode_is_an_error_that_tells_what_to_run(tmp_path):
    with pytest.raises(InputError, match="sgd evaluate"):
        write_report(results_of([]), [], tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
