"""What is measured while a student learns: exact match is that of greedy decoding, tokens a second those of the steps."""

import contextlib
import copy
import random
import shutil
from types import SimpleNamespace

import pytest
import torch
from trl import SFTConfig

from sgd_hf.training.student import STOP
from sgd_hf.training.trainer import LiveScore, StudentTrainer, compile_layers


@pytest.fixture(scope="module")
def brief(model, tokenizer):
    """The tiny llama with a bent for the end mark: its answers are a few tokens, if any."""
    made = copy.deepcopy(model)

    def bend(_, __, logits):
        logits[..., tokenizer.eos_token_id] += 5

    made.lm_head.register_forward_hook(bend)
    return made


@torch.inference_mode()
def greedy(model, tokenizer, messages):
    """The tokens of the model's own answer, one after the other, the end mark last."""
    tokens = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    written = []
    while len(written) < 8 and tokenizer.eos_token_id not in written:
        written.append(int(model(torch.tensor([[*tokens, *written]])).logits[0, -1].argmax()))
    return written


@pytest.fixture(scope="module")
def spoken(annotations, brief, tokenizer):
    """Rows in which about half of the answers are what the model itself would write."""
    from sgd_hf.corpus.build import executor_rows

    chance, rows = random.Random(0), []
    for messages, _, _ in [row for a in annotations[:6] for row in executor_rows(a)][:12]:
        said = []
        for message in messages:
            if message["role"] == "assistant" and chance.random() < 0.5:
                written = greedy(brief, tokenizer, said)
                content = tokenizer.decode(written).removesuffix(STOP)
                if tokenizer(content + STOP)["input_ids"] == written:
                    message = {"role": "assistant", "content": content}
            said.append(message)
        rows.append({"messages": said})
    return rows


@pytest.fixture(scope="module")
def trained(spoken, tokenizer, tmp_path_factory):
    """What gives the trainer of a model."""
    from datasets import Dataset

    given = {"bf16": False, "use_cpu": True, "report_to": "none", "assistant_only_loss": True, "max_length": 4096, "disable_tqdm": True}
    args = SFTConfig(
        str(tmp_path_factory.mktemp("out")), per_device_eval_batch_size=4, include_num_input_tokens_seen="non_padding", **given
    )
    rows = Dataset.from_list(spoken)
    more = {"args": args, "processing_class": tokenizer, "train_dataset": rows, "eval_dataset": rows, "exact_match_rows": 99}
    return lambda model: StudentTrainer(model=model, **more)


@pytest.fixture(scope="module")
def trainer(trained, brief):
    return trained(brief)


def test_exact_match_is_that_of_greedy_decoding(trainer, spoken, brief, tokenizer):
    right = [
        [
            greedy(brief, tokenizer, row["messages"][:i]) == tokenizer(message["content"] + STOP)["input_ids"]
            for i, message in enumerate(row["messages"])
            if message["role"] == "assistant"
        ]
        for row in spoken
    ]
    every = [one for row in right for one in row]
    assert 0 < sum(every) < len(every)
    found = trainer.exact_match()
    assert found["exact_match"] == pytest.approx(sum(every) / len(every))
    assert found["first_exact_match"] == pytest.approx(sum(row[0] for row in right) / len(right))


def test_it_is_among_what_an_evaluation_reports(trainer):
    reported = trainer.evaluate()
    assert {"eval_loss", "eval_exact_match", "eval_first_exact_match"} <= set(reported)
    logged = trainer.state.log_history[-1]
    assert logged["eval_exact_match"] == reported["eval_exact_match"] and "eval_mean_token_accuracy" in logged


def test_tokens_a_second_are_those_of_the_steps(trainer, monkeypatch):
    clock = iter([100.0, 104.0])
    monkeypatch.setattr("sgd_hf.training.trainer.time", SimpleNamespace(monotonic=lambda: next(clock)))
    trainer.state.num_input_tokens_seen = 50
    trainer.begin()
    trainer.state.num_input_tokens_seen = 450
    trainer.log({"loss": 1.0})
    assert trainer.state.log_history[-1]["tokens_per_second"] == 100


def test_a_live_score_is_of_the_checkpoint_just_saved_and_logged(tmp_path):
    logged, asked = [], []
    score = LiveScore(SimpleNamespace(log=logged.append), lambda folder: asked.append(folder) or {"dev-mini": 7.5}, 20)
    args = SimpleNamespace(output_dir=str(tmp_path))
    for step in (10, 20, 30, 40):
        score.on_save(args, SimpleNamespace(global_step=step, is_world_process_zero=True), None)
    score.on_save(args, SimpleNamespace(global_step=60, is_world_process_zero=False), None)
    assert asked == [tmp_path / "checkpoint-20", tmp_path / "checkpoint-40"]
    assert logged == [{"eval_score_dev-mini": 7.5}] * 2


def test_a_live_score_that_was_interrupted_is_made_up_for(tmp_path):
    asked = []
    score = LiveScore(SimpleNamespace(log=lambda found: None), lambda folder: asked.append(folder.name) or {}, 20)
    for step, logged in ((0, []), (10, []), (20, [{"step": 20, "eval_loss": 1.0}]), (40, [{"step": 40, "eval_score_macro": 5.0}])):
        state = SimpleNamespace(global_step=step, log_history=logged, is_world_process_zero=True)
        score.on_train_begin(SimpleNamespace(output_dir=str(tmp_path)), state, None)
    assert asked == ["checkpoint-20"]


def test_a_row_without_its_end_is_not_exact(trainer):
    """The end mark is a token of the answer: a model that goes on has not written it."""
    row = trainer.eval_dataset[0]
    stop = trainer.processing_class.eos_token_id
    ends = [i for i, label in enumerate(row["labels"]) if label == stop]
    starts = [i for i in range(1, len(row["labels"])) if row["labels"][i] != -100 and row["labels"][i - 1] == -100]
    assert len(ends) == len(starts) == len(trainer._right(row)) > 0
    with torch.no_grad():
        likely = trainer.model(torch.tensor([row["input_ids"]])).logits[0].argmax(-1).tolist()
    expected = [all(likely[i - 1] == row["labels"][i] for i in range(a, b + 1)) for a, b in zip(starts, ends, strict=True)]
    assert trainer._right(row) == expected


def test_the_loss_without_the_logits_that_have_no_label_is_that_of_trl(trained, model):
    """A batch of rows of different lengths; the loss, and what it teaches the head and a layer below."""
    trainer = trained(copy.deepcopy(model))
    model = trainer.model
    batch = trainer._prepare_inputs(trainer.data_collator([trainer.train_dataset[i] for i in range(4)]))
    assert (batch["labels"] == -100).any(1).all() and (batch["attention_mask"] == 0).any()

    def learnt(loss, **given):
        model.zero_grad()
        value = loss(model.train(), dict(batch), **given)
        value.backward()
        return [value.detach(), model.lm_head.weight.grad.clone(), model.model.layers[0].self_attn.q_proj.weight.grad.clone()]

    for given in ({}, {"num_items_in_batch": torch.tensor(77)}):
        ours, theirs = learnt(trainer.compute_loss, **given), learnt(super(StudentTrainer, trainer).compute_loss, **given)
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture
def adapted(spoken, model, tokenizer, tmp_path):
    """A trainer of an adapter in half precision, always the same."""
    from datasets import Dataset
    from peft import LoraConfig

    def make():
        torch.manual_seed(0)
        given = {"use_cpu": True, "bf16": True, "report_to": "none", "disable_tqdm": True, "logging_steps": 1}
        return StudentTrainer(
            model=copy.deepcopy(model).bfloat16(),
            args=SFTConfig(str(tmp_path), max_steps=3, learning_rate=1e-2, assistant_only_loss=True, max_length=4096, **given),
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(spoken),
            peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"),
        )

    return make


def learnt_by(trainer):
    trainer.train()
    return {name: parameter.detach() for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}


def test_an_adapter_learns_the_same_without_its_inputs_in_full_precision(adapted, monkeypatch):
    """Half precision under autocast, where peft's casts and autocast's take each other back."""
    from peft import helpers

    def watched():
        trainer, seen = adapted(), set()
        layer = trainer.model.base_model.model.model.layers[0].mlp.down_proj.lora_A["default"]
        layer.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].dtype))
        return learnt_by(trainer), seen

    ours, half = watched()
    monkeypatch.setattr(helpers, "disable_input_dtype_casting", lambda *_, **__: contextlib.nullcontext())
    theirs, full = watched()
    assert (half, full) == ({torch.bfloat16}, {torch.float32})
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_compiled_layers_learn_the_same_under_the_same_names(adapted):
    plain, compiled = adapted(), adapted()
    compile_layers(compiled.model)
    assert learnt_by(compiled).keys() == learnt_by(plain).keys()
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    losses = [[entry["loss"] for entry in trainer.state.log_history if "loss" in entry] for trainer in (compiled, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
