"""The Space's page: pick an episode, step through it, or let the agent play one.

Guarantee: what is shown at a step is `scene`'s and nothing else, for a recorded episode as for one under way. One
episode is played at a time, and one that is over or stopped leaves no simulator behind.
"""

import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio

from sgd_hf.core.errors import CheckpointError, SgdError
from sgd_hf.core.records import SPLITS, Episode, Rollout
from sgd_hf.evaluation.arms import Arm, arm
from sgd_hf.evaluation.play import INTERRUPTED, frames
from sgd_hf.evaluation.report import STOPS
from sgd_hf.release.space import named_agent, read_episodes
from sgd_hf.release.space.scene import plot, tree, world
from sgd_hf.scienceworld.tasks import TASKS, episode, variations

_stopping: set[str] = set()
"""sessions whose episode is to end at its next step"""
_HERE = Path(__file__).parent
_SHOWN = {"show_progress": "hidden", "queue": False}
_SANS = ("Inter", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_CLICKS = """
element.addEventListener("click", event => {
  const target = event.target.closest("[data-step]");
  if (target) trigger("click", {step: Number(target.dataset.step)});
});
const follow = () => {
  const box = element.querySelector(".goals"), here = box && box.querySelector(".act.now");
  if (!here) return;
  const top = here.offsetTop - box.offsetTop;
  if (top < box.scrollTop + 40 || top + here.offsetHeight > box.scrollTop + box.clientHeight - 40) box.scrollTop = top - box.clientHeight / 2;
};
watch("value", follow);
document.addEventListener("keydown", event => {
  if (!["ArrowLeft", "ArrowRight"].includes(event.key) || event.altKey || event.ctrlKey || event.metaKey) return;
  if (/INPUT|TEXTAREA|SELECT/.test(event.target.tagName) || event.target.getAttribute("role") === "tab") return;
  event.preventDefault();
  document.getElementById(event.key === "ArrowRight" ? "sgd-ahead" : "sgd-back").click();
});
"""
"""of the tree: a click on an action leads to it, the arrow keys step, and the step that is shown stays in sight"""
_MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "Liberation Mono", "monospace")


def serve(folder: Path) -> None:
    """Show a Space's folder until the process ends, on the loopback address unless ``GRADIO_SERVER_NAME`` says otherwise."""
    demo(read_episodes(folder), named_agent(folder)).launch(
        theme=theme(), css_paths=_HERE / "style.css", footer_links=[], ssr_mode=False, quiet=True
    )


def demo(episodes: Sequence[Rollout], agent: dict[str, Any] | None = None) -> gradio.Blocks:
    """The page for these recorded episodes and, where an agent is named (see `named_agent`), for live ones."""
    arms = list(dict.fromkeys(rollout.arm for rollout in episodes))
    by_key = {rollout.key: rollout for rollout in episodes}
    first = max(episodes, key=lambda rollout: (rollout.score, len(rollout.subgoals)))

    with gradio.Blocks(title="Sub-goals in ScienceWorld", analytics_enabled=False, fill_width=True) as page:
        gradio.HTML(
            '<div class="sgd title"><h1>Sub-goals in ScienceWorld</h1><p>A planner sets sub-goals, an executor carries them out.</p></div>'
        )
        rollout = gradio.State(first)
        with gradio.Tabs(elem_id="sgd-tabs"):
            with gradio.Tab("Recorded episodes"), gradio.Row():
                who = gradio.Dropdown(arms, value=first.arm, label="Agent", visible=len(arms) > 1, elem_id="sgd-arm", min_width=240)
                task = gradio.Dropdown(
                    _tasks(episodes, first.arm), value=first.episode.task, label="Task", elem_id="sgd-task", min_width=240
                )
                which = gradio.Dropdown(
                    _episodes(episodes, first.arm, first.episode.task), value=first.key, label="Episode", elem_id="sgd-episode"
                )
            if agent:
                with gradio.Tab("Play live"), gradio.Row(equal_height=True):
                    live_task = gradio.Dropdown(list(TASKS), value=first.episode.task, label="Task", elem_id="sgd-live-task")
                    live_variation = gradio.Dropdown(label="Variation", elem_id="sgd-live-variation", **_variations(first.episode.task))
                    start = gradio.Button("Play", variant="primary", elem_id="sgd-start", min_width=90, scale=0)
                    stop = gradio.Button("Stop", elem_id="sgd-stop", min_width=90, scale=0)
        with gradio.Row(elem_id="sgd-player"):
            with gradio.Column(scale=6, min_width=340):
                shown_tree = gradio.HTML(tree(first, 0), js_on_load=_CLICKS, elem_id="sgd-tree", apply_default_css=False)
            with gradio.Column(scale=5, min_width=340, elem_id="sgd-side"):
                with gradio.Row(elem_id="sgd-controls"):
                    back = gradio.Button("←", min_width=44, scale=0, elem_id="sgd-back")
                    ahead = gradio.Button("→", min_width=44, scale=0, elem_id="sgd-ahead")
                    step = gradio.Slider(0, _last(first), value=0, step=1, show_label=False, label="Step", container=False, elem_id="sgd-step",
                                         buttons=[])  # fmt: skip
                shown_plot = gradio.HTML(plot(first, 0), elem_id="sgd-plot", apply_default_css=False)
                shown_world = gradio.HTML(world(first, 0), elem_id="sgd-world", apply_default_css=False)

        scene = [step, shown_tree, shown_plot, shown_world]
        step.input(_scene, [rollout, step], scene[1:], trigger_mode="always_last", **_SHOWN)
        back.click(lambda shown, at: _at(shown, at - 1), [rollout, step], scene, **_SHOWN)
        ahead.click(lambda shown, at: _at(shown, at + 1), [rollout, step], scene, **_SHOWN)
        shown_tree.click(_clicked, [rollout], scene, **_SHOWN)

        def opened(key: str) -> tuple[Any, ...]:
            return by_key[key], *_opened(by_key[key], 0)

        def of_task(chosen_arm: str, chosen_task: str) -> tuple[Any, ...]:
            choices = _episodes(episodes, chosen_arm, chosen_task)
            return gradio.Dropdown(choices, value=choices[0][1]), *opened(choices[0][1])

        def of_arm(chosen_arm: str, chosen_task: str) -> tuple[Any, ...]:
            tasks = _tasks(episodes, chosen_arm)
            chosen = chosen_task if chosen_task in tasks else tasks[0]
            return gradio.Dropdown(tasks, value=chosen), *of_task(chosen_arm, chosen)

        which.input(opened, which, [rollout, *scene], **_SHOWN)
        task.input(of_task, [who, task], [which, rollout, *scene], **_SHOWN)
        who.input(of_arm, [who, task], [task, which, rollout, *scene], **_SHOWN)
        if agent:
            live_task.input(lambda name: gradio.Dropdown(**_variations(name)), live_task, live_variation, **_SHOWN)

            def live(name: str, variation: int, request: gradio.Request) -> Iterator[tuple[Any, ...]]:
                yield from _live(agent, episode(name, variation), request.session_hash)

            start.click(live, [live_task, live_variation], [rollout, *scene], show_progress="minimal", concurrency_limit=1)
            stop.click(_stop, **_SHOWN)
    return page


def theme() -> gradio.themes.Base:
    """Quiet colours and the fonts of the machine: none is loaded."""
    fonts = {"font": [gradio.themes.Font(name) for name in _SANS], "font_mono": [gradio.themes.Font(name) for name in _MONO]}
    quiet = {"body_background_fill": "#fbfaf6", "block_background_fill": "#ffffff", "border_color_primary": "#e5e1d7"}
    dark = {"body_background_fill_dark": "#15171a", "block_background_fill_dark": "#1c1f23", "border_color_primary_dark": "#2f3338"}
    return gradio.themes.Base(primary_hue="blue", neutral_hue="stone", radius_size="md", **fonts).set(**quiet, **dark)


def _scene(rollout: Rollout, step: int) -> tuple[str, str, str]:
    return tree(rollout, step), plot(rollout, step), world(rollout, step)


def _at(rollout: Rollout, step: int) -> tuple[Any, ...]:
    step = min(max(step, 0), len(rollout.steps))
    return step, *_scene(rollout, step)


def _opened(rollout: Rollout, step: int) -> tuple[Any, ...]:
    """Another episode: the slider gets its length, too."""
    return gradio.Slider(maximum=_last(rollout), value=step), *_scene(rollout, step)


def _clicked(rollout: Rollout, event: gradio.EventData) -> tuple[Any, ...]:
    return _at(rollout, int(event.step))


def _live(agent: dict[str, Any], chosen: Episode, session: str) -> Iterator[tuple[Any, ...]]:
    """An episode as it is played, always at its last step, until it is over or its session asks to stop."""
    _stopping.discard(session)
    try:
        with closing(frames(_loaded(agent["source"], agent["revision"]), chosen)) as shown:
            for frame in shown:
                stopped = frame.awaits and session in _stopping
                rollout = dataclasses.replace(frame.rollout, stop=INTERRUPTED) if stopped else frame.rollout
                yield rollout, *_opened(rollout, len(rollout.steps))
                if stopped:
                    return
    except SgdError as error:
        raise gradio.Error(str(error), print_exception=False) from None


def _stop(request: gradio.Request) -> None:
    _stopping.add(request.session_hash)


@functools.cache
def _loaded(source: str, revision: str | None) -> Arm:
    from huggingface_hub import snapshot_download

    if Path(source).is_dir():
        return arm("hierarchical", source)
    try:
        folder = snapshot_download(source, revision=revision)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise CheckpointError(f"{source} could not be had from the Hub ({reason}); see that SGD_AGENT names an agent.") from None
    return arm("hierarchical", folder)


def _last(rollout: Rollout) -> int:
    return max(len(rollout.steps), 1)  # a slider needs a way to go


def _tasks(episodes: Sequence[Rollout], of: str) -> list[str]:
    return sorted({rollout.episode.task for rollout in episodes if rollout.arm == of}, key=list(TASKS).index)


def _episodes(episodes: Sequence[Rollout], of: str, task: str) -> list[tuple[str, str]]:
    """Label and key of each, the best first."""
    found = [rollout for rollout in episodes if (rollout.arm, rollout.episode.task) == (of, task)]
    found.sort(key=lambda rollout: (-rollout.score, rollout.episode.variation))
    return [(f"variation {r.episode.variation} · score {r.score} · {STOPS[r.stop]}", r.key) for r in found]


def _variations(task: str) -> dict[str, Any]:
    """The choices of a task, dev first, which nothing was trained on."""
    order = sorted(SPLITS, key=["dev", "test", "train"].index)
    choices = [(f"{variation} · {split}", variation) for split in order for variation in variations(task, split)]
    return {"choices": choices, "value": choices[0][1]}
