"""The Space: paste an action list, see the score that a replay gives. It needs the simulator only, no model."""

from pathlib import Path

import evaluate
import gradio

from sgd_hf.core.errors import SgdError
from sgd_hf.scienceworld.tasks import TASKS

metric = evaluate.load(str(Path(__file__).parent))


def score(task: str, variation: float, simplification: str, actions: str) -> dict:
    """The metric's result for one episode; ``actions`` holds one a line."""
    episode = {"task": task, "variation": int(variation), "simplification": simplification}
    try:
        return metric.compute(predictions=[actions.splitlines()], references=[episode])
    except SgdError as error:
        raise gradio.Error(str(error)) from None


demo = gradio.Interface(
    score,
    [
        gradio.Dropdown(list(TASKS), value="find-non-living-thing", label="Task"),
        gradio.Number(2, precision=0, label="Variation"),
        gradio.Radio(["easy", ""], value="easy", label="Simplification"),
        gradio.Textbox(lines=10, label="Actions, one a line"),
    ],
    gradio.JSON(label="Result"),
    title="ScienceWorld score",
    description="Replays an action list in ScienceWorld and returns its score, 0 to 100. A first replay takes some seconds.",
)

if __name__ == "__main__":
    demo.queue(default_concurrency_limit=1).launch()
