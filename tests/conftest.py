"""What several rooms' tests share: recorded annotations, a data folder built from them, tiny models, `sgd` as a function."""

import dataclasses
import os
import signal
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="sgd-hf-tests-")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "corpus"))

import hypothesis
import pytest
from recorded import gold_paths
from tiny import TINY

from sgd_hf.core.records import Annotation, to_row
from sgd_hf.core.store import Store
from sgd_hf.scienceworld.tasks import episode, variations

hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
# A shell lets what it starts in the background ignore Ctrl-C, and that is passed on to what a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def annotations() -> list[Annotation]:
    """The 30 recorded episodes, one a task, cut by the rules."""
    from sgd_hf.corpus.annotate import annotation
    from sgd_hf.corpus.teachers import RuleTeacher, written

    return [annotation(gold, written(gold), RuleTeacher()) for gold in gold_paths()]


@pytest.fixture(scope="session")
def gold_folder(tmp_path_factory):
    """A complete `sgd collect` folder of the recorded episodes."""
    folder = tmp_path_factory.mktemp("gold") / "gold"
    with Store(folder, "collect", {"split": "train"}) as store:
        for gold in gold_paths():
            store.append(gold.key, {"gold": to_row(gold), "reason": ""})
        store.finish({"accepted": len(gold_paths())})
    return folder


@pytest.fixture(scope="session")
def data(annotations, tmp_path_factory):
    """A `sgd build` folder of short episodes with all three splits: the recorded ones are of train, so for dev and
    test some are relabelled as a variation of those."""
    from sgd_hf.corpus.build import build

    root = tmp_path_factory.mktemp("run")
    short = [a for a in annotations if len(a.gold.steps) <= 10]
    folders = []
    for split, some in (("train", short), ("dev", short[:2]), ("test", short[2:4])):
        folders.append(root / "annotations" / split)
        with Store(folders[-1], "annotate", {"teacher": "rules", "split": split}) as store:
            for a in some:
                other = a.gold.episode if split == "train" else episode(a.gold.episode.task, variations(a.gold.episode.task, split)[0])
                store.append(other.key, to_row(dataclasses.replace(a, gold=dataclasses.replace(a.gold, episode=other))))
            store.finish({})
    build(folders, root / "data")
    return root / "data"


@pytest.fixture(scope="session")
def paper_data(data):
    """The same episodes as a folder of rows in the paper's style."""
    from sgd_hf.corpus.build import build

    build([data.parent / "annotations" / split for split in ("train", "dev", "test")], data.parent / "paper-data", style="paper")
    return data.parent / "paper-data"


@pytest.fixture(scope="session")
def t5(texts, tmp_path_factory):
    """The folder of a tiny T5 with random weights, its tokenizer trained on the rows: what stands in for FLAN-T5, and
    like it has an output layer of its own."""
    import json

    import torch
    from tokenizers import Tokenizer, models, trainers
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = T5Tokenizer().backend_tokenizer.pre_tokenizer
    special = ["<pad>", "</s>", "<unk>"]
    alphabet = sorted({character for text in texts for character in text if not character.isspace()})
    trainer = trainers.UnigramTrainer(
        vocab_size=600, unk_token="<unk>", special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    unigram.train_from_iterator(sorted(set(texts))[::20], trainer)
    vocabulary = json.loads(unigram.to_str())["model"]["vocab"]
    tokenizer = T5Tokenizer(vocab=[tuple(entry) for entry in vocabulary], extra_ids=0)
    torch.manual_seed(0)
    shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
    config = T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, tie_word_embeddings=False, dropout_rate=0.0, **shape)
    folder = tmp_path_factory.mktemp("t5")
    model = T5ForConditionalGeneration(config)
    model.lm_head.weight = torch.nn.Parameter(0.1 * torch.randn(len(tokenizer), config.d_model))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def texts(annotations):
    """Every message of every planner, executor and flat row of the recorded episodes."""
    from sgd_hf.corpus.build import executor_rows, flat_rows, planner_rows

    makers = (planner_rows, executor_rows, flat_rows)
    return [m["content"] for a in annotations for rows in makers for messages, _, _ in rows(a) for m in messages]


@pytest.fixture(scope="session")
def tokenizer(texts):
    from sgd_hf.training.student import chat_template, scratch_tokenizer

    made = scratch_tokenizer(texts, 1024)
    made.chat_template = chat_template()
    return made


@pytest.fixture(scope="session")
def model(tokenizer):
    """A tiny llama with random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(**TINY, vocab_size=len(tokenizer), max_position_embeddings=4096, initializer_range=0.4, **ids)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    """A function: recipes/tiny of a role with a few steps of a smaller model, and whatever else is changed."""
    import yaml

    from sgd_hf.core.assets import asset

    def made(of="executor", **changes):
        keys = yaml.safe_load(asset("recipes", "tiny", f"{of}.yaml").read_text())
        few = {
            "max_steps": 6,
            "save_steps": 2,
            "eval_steps": 3,
            "logging_steps": 1,
            "warmup_steps": 0,
            "per_device_train_batch_size": 2,
            "vocabulary": 400,
        }
        keys |= {"scratch": TINY, **few, **changes}
        path = tmp_path_factory.mktemp("recipe") / f"{of}.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in keys.items() if value is not None}))
        return path

    return made


@pytest.fixture(scope="session")
def run(data, recipe):
    """A run's folder: planner, executor and flat, trained for six steps, beside the data."""
    from sgd_hf.training.sft import train

    for role in ("planner", "executor", "flat"):
        train(recipe(role), str(data), data.parent / role)
    return data.parent


@pytest.fixture
def sgd(monkeypatch, capsys):
    """`sgd` as a function of its arguments: exit code, and what it wrote on standard error."""
    from sgd_hf.cli import main

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["sgd", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code
        return code, capsys.readouterr().err

    return called
