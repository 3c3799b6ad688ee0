"""Students and their tokenizers: pretrained ones from a checkpoint, tiny ones from nothing.

Guarantee: every student speaks the chat format of ``core/chat_template.jinja``, ends a turn with ``<|im_end|>``
and pads with another token. A tokenizer trained here depends on the train rows and the vocabulary size alone, so
planner, executor and flat baseline of one data set share it.
"""

from collections.abc import Iterable
from importlib import resources
from typing import Any

from sgd_hf.core.errors import CheckpointError, InputError
from sgd_hf.training.pretrained import locate
from sgd_hf.training.recipe import Student

STOP, PAD = "<|im_end|>", "<|endoftext|>"
# An opener with its role is one token of a tiny vocabulary: the template's text is the same, a turn costs less.
OPENERS = tuple(f"<|im_start|>{role}\n" for role in ("system", "user", "assistant"))


def chat_template() -> str:
    """The chat format of all students, with TRL's generation marks around what is learnt."""
    return (resources.files("sgd_hf.core") / "chat_template.jinja").read_text().rstrip("\n")


def scratch_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE trained on ``texts``, made for copying: digits are single tokens, and a name is the same tokens
    after a parenthesis as after a space (a text must not have both in a row)."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.normalizer = normalizers.Replace("(", "( ")
    bpe.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("( ", "(")])
    special = [PAD, STOP, *OPENERS]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=STOP, pad_token=PAD, clean_up_tokenization_spaces=False)


def make_student(student: Student, texts: Iterable[str], max_length: int, dtype: str = "float32") -> tuple[Any, Any]:
    """The model and tokenizer to train; ``dtype`` of pretrained weights. Raises `InputError` where the recipe's student
    is not causal, `CheckpointError` where it cannot be loaded."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if student.scratch:
        tokenizer = scratch_tokenizer(texts, student.vocabulary)
        ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        shape = {"vocab_size": len(tokenizer), "max_position_embeddings": max_length, **ids}
        try:
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**{**student.scratch, **shape}))
        except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
            raise InputError(f"The recipe's `scratch` is not a causal configuration: {' '.join(str(error).split())}") from None
    else:
        source, revision = locate(student.model, student.revision)
        try:
            config = AutoConfig.from_pretrained(source, revision=revision)
            if config.is_encoder_decoder:
                raise InputError(
                    f"{student.model} is an encoder-decoder, which TRL's SFT would train on a wrong loss; "
                    "take a recipe of recipes/flan-t5-* for it, or give a causal checkpoint."
                )
            tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
            if STOP not in tokenizer.get_vocab():
                raise InputError(f"The tokenizer of {student.model} lacks {STOP}, which ends a turn; give a checkpoint that knows ChatML.")
            model = AutoModelForCausalLM.from_pretrained(source, revision=revision, use_safetensors=True, dtype=dtype)
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(f"{student.model} cannot be loaded ({reason}); give a folder or Hub id of a causal checkpoint.") from None
        tokenizer.eos_token, tokenizer.pad_token = STOP, PAD
    tokenizer.chat_template = chat_template()
    return model, tokenizer
