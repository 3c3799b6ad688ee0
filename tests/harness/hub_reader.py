"""What people do with a release, with the libraries that they have: run with HF_ENDPOINT set and an empty HF_HOME.

    python hub_reader.py TAG

Prints one JSON line of what was loaded.
"""

import json
import sys


def main(tag: str) -> None:
    import evaluate
    from datasets import get_dataset_config_names, load_dataset
    from huggingface_hub import get_collection, list_repo_refs
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sgd_hf.agent.agent import SubgoalAgent

    found = {"rows": {}, "streamed": {}, "words": {}}
    corpus = "acme/scienceworld-subgoals"
    for config in get_dataset_config_names(corpus, revision=tag):
        found["rows"][config] = {split: len(rows) for split, rows in load_dataset(corpus, config, revision=tag).items()}
        found["streamed"][config] = sorted(next(iter(load_dataset(corpus, config, split="train", streaming=True, revision=tag))))
    found["default"] = load_dataset(corpus, split="test").column_names
    found["rollouts"] = len(load_dataset("acme/sgd-rollouts-tiny", split="validation"))
    for module in ("planner", "executor"):
        id = f"acme/sgd-{module}-tiny"
        model, tokenizer = AutoModelForCausalLM.from_pretrained(id, revision=tag), AutoTokenizer.from_pretrained(id, revision=tag)
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": "task: find"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        found["words"][module] = model.generate(**inputs, max_new_tokens=4).shape[1] - inputs["input_ids"].shape[1]
    agent = SubgoalAgent.from_pretrained("acme/sgd-agent-tiny", revision=tag)
    found["pins"] = {role: getattr(agent.config, role) for role in ("planner", "executor")}
    metric = evaluate.load("acme/scienceworld_score")
    reference = {"task": "find-non-living-thing", "variation": 2, "simplification": "easy"}
    found["score"] = metric.compute(predictions=[["focus on glass jar", "move glass jar to blue box"]], references=[reference])["score"]
    played = metric.compute(references=[reference], agent=agent)
    found["played"] = {"score": played["score"], "episodes": played["n_episodes"], "errors": played["n_errors"]}
    found["tags"] = {id: [t.name for t in list_repo_refs(id, repo_type=kind).tags] for id, kind in repositories()}
    found["collection"] = [item.item_id for item in get_collection("acme/sub-goal-distillation-acme-0123456789abcdef01234567").items]
    print(json.dumps(found))


def repositories() -> list[tuple[str, str]]:
    """Id and kind of every repository of a release."""
    models = [(f"acme/sgd-{name}-tiny", "model") for name in ("planner", "executor", "flat", "agent")]
    data = [("acme/scienceworld-subgoals", "dataset"), ("acme/sgd-rollouts-tiny", "dataset")]
    return [*models, *data, ("acme/scienceworld_score", "space"), ("acme/sgd-demo-tiny", "space")]


if __name__ == "__main__":
    main(sys.argv[1])
