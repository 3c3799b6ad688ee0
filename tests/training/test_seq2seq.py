"""An encoder-decoder through a flan-t5 recipe, end to end; its loss is the same however a step is spread."""

import json
import signal
import subprocess
import sys
import time

import pytest
import yaml

from sgd_hf.core.assets import asset
from sgd_hf.core.errors import CheckpointError, InputError
from sgd_hf.core.prompts import PAPER_VERSION, as_text
from sgd_hf.training.recipe import Student, read_recipe
from sgd_hf.training.seq2seq import make_seq2seq_student, seq2seq_trainer
from sgd_hf.training.sft import train

FEW = {
    "num_train_epochs": None, "max_steps": 6, "save_steps": 2, "eval_steps": 2, "logging_steps": 1, "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1, "dataloader_num_workers": 0, "bf16": None, "use_cpu": True, "report_to": "none", "disable_tqdm": True,
}  # fmt: skip


@pytest.fixture
def flan(t5, tmp_path):
    """A function: a flan-t5 recipe with a few steps of a tiny T5, and whatever else is changed."""

    def made(of="executor", size="large", **changes):
        keys = yaml.safe_load(asset("recipes", f"flan-t5-{size}", f"{of}.yaml").read_text()) | FEW
        keys |= {"model": str(t5), "max_source_length": 2048, **changes}
        path = tmp_path / f"{size}-{of}.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in keys.items() if value is not None}))
        return path

    return made


def turns(*texts):
    """A row: user and assistant in turns."""
    return {"messages": [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]}


def rows(*given):
    from datasets import Dataset

    return Dataset.from_list(list(given))


def made_of(flan, tmp_path, train_rows, **changes):
    student, args = read_recipe(flan(eval_strategy="no", load_best_model_at_end=None, patience=None, **changes), "data", tmp_path / "out")
    return seq2seq_trainer(student, args, {"train": train_rows}, [])


def test_every_assistant_turn_is_a_pair_of_what_stands_before_it(flan, tmp_path):
    row = turns("task: boil\nroom: kitchen", "activate stove", "it is on\nsub-goal: x", "END")
    trainer, longest = made_of(flan, tmp_path, rows(row, turns("task: find", "pick_up(metal pot)")))
    tokenizer = trainer.processing_class
    found = [(tokenizer.decode(pair["input_ids"]), tokenizer.decode(pair["labels"])) for pair in trainer.train_dataset]
    first = "task: boil</s> room: kitchen"
    assert found == [
        (f"{first}</s>", "activate stove</s>"),
        (f"{first}</s> > activate stove</s> it is on</s> sub-goal: x</s>", "END</s>"),
        ("task: find</s>", "pick_up(metal pot)</s>"),
    ]
    assert longest == max(len(pair["input_ids"]) for pair in trainer.train_dataset)
    assert as_text(row["messages"][:1], "</s>") == "task: boil </s> room: kitchen"


def test_pairs_of_an_earlier_version_are_not_answered_from_a_cache(flan, tmp_path, monkeypatch):
    from datasets import load_dataset

    rows(turns("task: boil", "activate stove")).to_parquet(tmp_path / "rows.parquet")
    stored = load_dataset("parquet", data_files=str(tmp_path / "rows.parquet"), split="train")
    made_of(flan, tmp_path, stored)
    monkeypatch.setattr(as_text, "__code__", (lambda messages, stop: "task: find").__code__)
    trainer, _ = made_of(flan, tmp_path, stored)
    assert trainer.processing_class.decode(trainer.train_dataset[0]["input_ids"]) == "task: find</s>"


def test_what_does_not_fit_or_come_back_is_refused(flan, tmp_path):
    for key, row in (
        ("max_source_length", turns("where is the pot? " * 9, "END")),
        ("max_target_length", turns("x", "wait" + ", wait" * 9)),
    ):
        with pytest.raises(InputError, match=rf"\d+ tokens and the recipe's {key} is 9"):
            made_of(flan, tmp_path, rows(row), **{key: 9})
    with pytest.raises(InputError, match="knows its characters"):
        made_of(flan, tmp_path, rows(turns("x", "pick up the 🙂")))


def step(flan, tmp_path, batch, accumulation):
    """Loss and norm of the gradient of one step on the same sixteen rows."""
    answers = ["END", "pick up thermometer in kitchen, then wait and look at the metal pot, and again", "wait", "open door to hallway"]
    some = rows(*(turns(f"task: {i} boil water", answers[i % 4]) for i in range(16)))
    shape = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    trainer, _ = made_of(flan, tmp_path, some, max_steps=1, learning_rate=0.0, save_strategy="no", save_steps=None, **shape)
    trainer.train()
    log = trainer.state.log_history[0]
    return log["loss"], log["grad_norm"]


@pytest.mark.slow
def test_a_step_is_the_same_in_one_batch_or_several(flan, tmp_path):
    loss, norm = step(flan, tmp_path, 16, 1)
    for batch, accumulation in ((4, 4), (1, 16)):
        assert step(flan, tmp_path, batch, accumulation) == (pytest.approx(loss, rel=0.001), pytest.approx(norm, rel=0.001))


@pytest.mark.slow
def test_a_recipe_trains_what_transformers_load_and_an_agent_plays(flan, paper_data, tmp_path):
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from sgd_hf.agent.agent import SubgoalAgent
    from sgd_hf.agent.plans import recited
    from sgd_hf.agent.policy import Act, Ask, Reply
    from sgd_hf.agent.seq2seq import Seq2SeqDecoder

    for role in ("planner", "executor"):
        summary = train(flan(role, learning_rate=0.01), str(paper_data), tmp_path / "run" / role)
        folder = tmp_path / "run" / role
        model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        assert not torch.equal(model.lm_head.weight, model.shared.weight), "T5's own output layer is neither lost nor tied"
        assert summary["parameters"] == sum(p.numel() for p in model.parameters()) and tokenizer.eos_token == "</s>"
        assert summary["steps"] == 6 and summary["final_loss"] < summary["losses"][0][1]
        assert summary["dev_loss"] > 0 and 0 <= summary["dev_exact_match"] <= 1 and 0 < summary["dev_token_accuracy"] < 1
        assert summary["best_step"] in (2, 4, 6) and 0 < summary["longest_row"] <= 2048
        said = json.loads((folder / "sgd.json").read_text())
        assert (said["role"], said["prompt_version"], said["budget"]) == (role, PAPER_VERSION, 3200)
        assert not list(folder.glob("checkpoint-*")) and not list(folder.glob("*.bin"))
        assert train(flan(role, learning_rate=0.01), str(paper_data), folder) == summary
    agent = SubgoalAgent.from_pretrained(tmp_path / "run")
    modules = agent.modules()
    assert all(isinstance(module, Seq2SeqDecoder) for module in modules.values())
    look = "This room is called the kitchen. In it, you see: \n\ta stove\n"
    transcript, policy = agent.policy("Your task is to find a living thing.", look, "", plan=recited(["activate(stove)", "wait(5)"]))
    request, acts = next(policy), 0
    with pytest.raises(StopIteration):  # nothing is left to recite
        while True:
            if isinstance(request, Ask):
                assert request.messages[0]["content"].endswith("visited rooms: kitchen\nnext action?")
                request = policy.send(modules[request.module].write(request))
            else:
                assert isinstance(request, Act)
                acts += 1
                request = policy.send(Reply("Nothing happens.", look, "", False))
    assert acts == len(transcript.actions) >= 2 and [past.subgoal for past in transcript.past] == ["activate(stove)", "wait(5)"]
    ask = next(agent.policy("Your task is to find a living thing.", look, "")[1])
    assert ask.module == "planner" and isinstance(modules["planner"].write(ask), str)


@pytest.mark.slow
def test_a_killed_training_continues_from_its_last_checkpoint(flan, paper_data, tmp_path):
    path, out = flan("flat", max_steps=20, save_steps=5, eval_steps=5, patience=None), tmp_path / "out"
    command = [sys.executable, "-m", "sgd_hf.training.sft", "--config", path, "--data", paper_data, "--out", out]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (out / "checkpoint-10" / "trainer_state.json").exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    training = train(path, str(paper_data), out)
    assert training["steps"] == 20 and [number for number, _ in training["losses"]] == list(range(1, 21))
    assert training["losses"] == train(path, str(paper_data), tmp_path / "whole")["losses"]


@pytest.mark.slow
def test_rows_of_the_other_style_serve_too(flan, data, tmp_path):
    summary = train(flan("executor", max_steps=2), str(data), tmp_path / "out")
    assert summary["train_rows"] > json.loads((data / "manifest.json").read_text())["summary"]["rows"]["executor"]["train"]


def test_an_adapter_is_not_of_this_trainer(flan, tmp_path):
    with pytest.raises(InputError, match="`lora`, which is of the trainer sft"):
        read_recipe(flan(lora={"r": 4}), "data", tmp_path)


def test_a_student_of_the_other_kind_is_refused_with_what_to_do(t5, model, tmp_path):
    from sgd_hf.training.student import make_student

    model.save_pretrained(tmp_path / "llama")
    with pytest.raises(InputError, match="without `trainer: seq2seq`"):
        make_seq2seq_student(Student("planner", model=str(tmp_path / "llama")))
    with pytest.raises(InputError, match="recipes/flan-t5-"):
        make_student(Student("planner", model=str(t5)), [], 128)
    with pytest.raises(InputError, match="without `scratch`"):
        make_seq2seq_student(Student("planner", scratch={"model_type": "t5"}))
    with pytest.raises(CheckpointError, match="nowhere"):
        make_seq2seq_student(Student("planner", model=str(tmp_path / "nowhere")))


@pytest.mark.slow
def test_a_model_of_its_own_for_the_first_subgoal(flan, paper_data, tmp_path):
    from sgd_hf.agent.agent import SubgoalAgent
    from sgd_hf.agent.policy import Act, Reply

    rows = json.loads((paper_data / "manifest.json").read_text())["summary"]["rows"]["planner"]
    for role, steps in (("first", 2), ("planner", 1), ("executor", 1)):
        changes = {"max_steps": steps, "eval_strategy": "no", "load_best_model_at_end": None, "patience": None, "save_strategy": "no"}
        summary = train(flan(role, **changes), str(paper_data), tmp_path / role)
        if role == "first":
            assert 0 < summary["train_rows"] < rows["train"] / 3, "one row an episode"
    agent = SubgoalAgent.from_pretrained(tmp_path)
    assert list(agent.modules()) == ["first", "planner", "executor"]
    agent.save_pretrained(tmp_path / "agent")
    assert SubgoalAgent.from_pretrained(tmp_path / "agent").config == agent.config
    look = "This room is called the kitchen. In it, you see: \n\ta stove\n"
    _, policy = agent.policy("Your task is to find a living thing.", look, "")
    asked = [next(policy), policy.send("activate(stove)"), policy.send("activate stove")]
    assert isinstance(asked.pop(), Act)
    asked.append(policy.send(Reply("It is on.", look, "", False)))
    asked.append(policy.send("END"))
    assert [ask.module for ask in asked] == ["first", "executor", "executor", "planner"]
    _, policy = agent.policy("Your task is to find a living thing.", look, "")
    assert [next(policy).module, policy.send("gibberish").module] == ["first", "planner"], "the planner mends what the first wrote"
