"""An episode at one step, as HTML: the sub-goal tree, the state of the world, the score so far.

Guarantee: pure functions of a rollout and a step from 0 (before the first action) to the number of its actions;
whatever the simulator or a model wrote is shown as text, never run, and never taken for a template.
"""

from html import escape

from sgd_hf.core.records import Rollout
from sgd_hf.core.texts import flatten
from sgd_hf.evaluation.play import Group, gain, groups, outcome

_INERT = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})
"""Gradio reads the HTML that it is given as a template"""


def tree(rollout: Rollout, step: int) -> str:
    """The task, how it ended, and every action under its sub-goal; elements with ``data-step`` lead to a step."""
    goals = "".join(_goal(rollout, group, step) for group in groups(rollout))
    episode = rollout.episode
    start = f'<button class="act start{" now" if step == 0 else ""}" data-step="0"><span></span><span>the beginning</span></button>'
    return (
        f'<div class="sgd tree"><p class="where">{_text(episode.task)} · variation {episode.variation} · {episode.split} · {_text(rollout.arm)}</p>'
        f'<p class="description">{_text(rollout.description)}</p><p class="outcome">{_text(outcome(rollout))}</p>'
        f'<div class="goals">{start}{goals}</div></div>'
    )


def world(rollout: Rollout, step: int) -> str:
    """Score and moves, the action with its reply, the inventory and what is in sight; lines that the action made are marked."""
    if step == 0:
        return _world(rollout, "0", "0", "", _panel("before the first action", ""), rollout.look, rollout.inventory, None)
    now = rollout.steps[step - 1]
    subgoal = next((group.subgoal for group in groups(rollout) if group.start < step <= group.end), "")
    did = f'<div class="did">{_text(now.action)}{_badge(gain(rollout.steps, step - 1))}</div><div class="said">{_text(now.observation.strip())}</div>'
    before = rollout.steps[step - 2] if step > 1 else rollout
    return _world(
        rollout,
        str(max(now.score, 0)),
        str(now.moves),
        subgoal,
        _panel(f"action {step} of {len(rollout.steps)}", did),
        now.look,
        now.inventory,
        before,
    )


def plot(rollout: Rollout, step: int) -> str:
    """The score over the simulator's moves, up to the step in full colour; a band a sub-goal."""
    moves = [0, *(s.moves for s in rollout.steps)]
    scores = [0, *(max(s.score, 0) for s in rollout.steps)]
    end = max(moves[-1], 1)
    x = [round(98 * move / end, 2) for move in moves]  # room for a rise at the very end
    bands = "".join(
        f'<rect class="band" x="{x[g.start]}" width="{x[g.end] - x[g.start]:.2f}" y="0" height="100"/>'
        for g in groups(rollout)[::2]
        if g.subgoal
    )
    path = "".join(f"H{x[i]}V{100 - scores[i]}" for i in range(1, len(x)))
    done = "".join(f"H{x[i]}V{100 - scores[i]}" for i in range(1, step + 1))
    shapes = "".join(f'<line class="grid" x1="0" x2="100" y1="{y}" y2="{y}"/>' for y in (0, 50, 100))
    return (
        '<div class="sgd plot"><div class="y"><span>100</span><span>50</span><span>0</span></div>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="score {scores[step]} after {moves[step]} moves">{bands}{shapes}'
        f'<path class="all" d="M0,100{path}"/><path class="area" d="M0,100{done}V100Z"/><path class="line" d="M0,100{done}"/>'
        f'<line class="cursor" x1="{x[step]}" x2="{x[step]}" y1="0" y2="100"/></svg>'
        f'<div class="x"><span>0</span><span>score over the simulator\'s moves</span><span>{moves[-1]}</span></div></div>'
    )


def _goal(rollout: Rollout, group: Group, step: int) -> str:
    acts = "".join(_act(rollout, index, step) for index in range(group.start, group.end))
    if not group.subgoal:
        return f'<div class="goal bare">{acts}</div>'
    verb, _, rest = group.subgoal.partition("(")
    state = "now" if group.start < step <= group.end else "later" if step <= group.start else "past"
    why = f"<i>{_text(group.why)}</i>" if group.why else ""
    name = f'<span class="name"><b>{_text(verb)}</b>({_text(rest)}{why}</span>'
    fate = f'<span class="badge {_text(group.fate)}">{_text(group.fate)}</span>'
    # A sub-goal that ended without an action leads to where it was tried.
    target = min(group.start + 1, group.end) if group.end > group.start else group.start
    return f'<div class="goal {state}"><button class="head" data-step="{target}">{name}{fate}</button>{acts}</div>'


def _act(rollout: Rollout, index: int, step: int) -> str:
    done, word = rollout.steps[index], gain(rollout.steps, index)
    state = "now" if index + 1 == step else "later" if index >= step else "past"
    refused = " refused" if word == "rejected" else ""
    return (
        f'<button class="act {state}{refused}" data-step="{index + 1}"><span class="n">{index + 1}</span>'
        f'<span class="what">{_text(done.action)}</span>{_badge(word)}<span class="heard">{_text(flatten(done.observation))}</span></button>'
    )


def _world(rollout: Rollout, score: str, moves: str, subgoal: str, did: str, look: str, inventory: str, before: object) -> str:
    meters = "".join(
        f'<div><span class="quiet">{name}</span><b>{_text(value)}</b></div>'
        for name, value in (("score", score), ("moves", moves), ("sub-goal", subgoal or "–"))
    )
    held = _panel("inventory", _lines(inventory, getattr(before, "inventory", "")))
    seen = _panel("what it sees", _lines(look, getattr(before, "look", "")))
    return f'<div class="sgd world"><div class="meters">{meters}</div>{did}{held}{seen}</div>'


def _panel(title: str, content: str) -> str:
    return f'<div class="panel"><p class="quiet">{title}</p>{content}</div>'


def _lines(text: str, before: str) -> str:
    """A state line by line; those that the state before, where one is known, did not have are marked."""
    if not text:
        return '<p class="quiet">not recorded</p>'
    old = set(before.splitlines())
    return "".join(
        f'<div class="seen{" new" if old and line not in old else ""}">{_text(line)}</div>' for line in text.splitlines() if line.strip()
    )


def _badge(word: str) -> str:
    kind = "up" if word.startswith("+") else "down"
    return f'<span class="gain {kind}">{word.replace("-", "−")}</span>' if word else "<span></span>"


def _text(text: str) -> str:
    return escape(text).translate(_INERT)
