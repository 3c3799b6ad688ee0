"""A user's script around the metric, without a ``__main__`` guard: `score_gold.py GOLD TASK…` prints a JSON line of
results for the gold paths of the tasks: as they are, without their last action, and under the name of another task."""

import json
import sys

import evaluate

import sgd_hf.metrics

print("begun", file=sys.stderr)
rows = [json.loads(line)["gold"] for line in open(sys.argv[1])]
golds = [row for row in rows if row["episode"]["task"] in sys.argv[2:]]
actions = [[step["action"] for step in gold["steps"]] for gold in golds]
references = [{key: gold["episode"][key] for key in ("task", "variation", "simplification")} for gold in golds]
metric = evaluate.load(sgd_hf.metrics.path())
try:
    wrong = metric.compute(predictions=actions, references=[{**reference, "task": "find-plont"} for reference in references])
except Exception as error:
    wrong = f"{type(error).__name__}: {error}"
whole = metric.compute(predictions=actions, references=references)
cut = metric.compute(predictions=[some[:-1] for some in actions], references=references)
print(json.dumps({"whole": whole, "cut": cut, "wrong": wrong}))
