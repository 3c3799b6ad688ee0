"""Who annotates, by the words of a command line.

Guarantee: what the chosen teacher cannot do without is asked for in one sentence before anything is started, and
what it has no use for is refused rather than ignored.
"""

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sgd_hf.core.errors import InputError
from sgd_hf.core.safety import weights_digest
from sgd_hf.corpus.teachers import RuleTeacher, RuleTemplate, Teacher, Template

_ANY = ("teacher", "shard")
_ASKED = ("template", "revision", "concurrency", "timeout", "repairs", "max_cost", "price_in", "price_out", "max_tokens_total", *_ANY)
_USES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # what each needs, and what else it has a use for
    "--teacher rules": ((), _ANY),
    "--teacher endpoint": (("base_url", "model"), ("grammar", *_ASKED)),
    "--teacher vllm": (("model",), ("server_flags", *_ASKED)),
    "--teacher recorded": (("recording",), ("template", *_ANY)),
    "--reparse": ((), ("template",)),
}


def appoint(
    name: str,
    template: str | None = None,
    *,
    model: str | None = None,
    revision: str | None = None,
    base_url: str | None = None,
    server_flags: str | None = None,
    grammar: bool = False,
    recording: Path | None = None,
    concurrency: int | None = None,
    timeout_s: float | None = None,
) -> Teacher:
    """The teacher of that ``name``, asked by that ``template`` (default: ``grounded``, or the recording's own)."""
    refuse_useless(f"--teacher {name}", {
        "template": template, "model": model, "revision": revision, "base_url": base_url, "server_flags": server_flags,
        "grammar": grammar, "recording": recording, "concurrency": concurrency, "timeout": timeout_s,
    })  # fmt: skip
    if name == "rules":
        return RuleTeacher()
    if name == "recorded":
        from sgd_hf.corpus.recorded import RecordedTeacher, recorded_template

        return RecordedTeacher(recording, by_name(template or recorded_template(recording)))
    from sgd_hf.corpus.endpoint import EndpointTeacher
    from sgd_hf.corpus.serving import serving

    chosen = {"revision": revision, "concurrency": concurrency, "timeout_s": timeout_s}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    if name == "endpoint":
        return EndpointTeacher(base_url, model, by_name(template or "grounded"), grammar=grammar, **chosen)
    said, flags = model, ["--revision", revision] if revision else []
    if (own := Path(model).resolve()).is_dir():  # rows tell its name and weights, not where it lay
        said, flags = own.name, []
        chosen.setdefault("revision", weights_digest(own))
    flags += ["--served-model-name", said]
    try:
        flags += shlex.split(server_flags or "")
    except ValueError as error:
        raise InputError(f"--server-flags cannot be read ({error}); quote them as for a shell.") from None
    where = partial(serving, model, flags=flags)
    return EndpointTeacher(where, said, by_name(template or "grounded"), grammar=True, **chosen)


def refuse_useless(who: str, given: Mapping[str, Any]) -> None:
    """Raise `InputError` where ``who``, ``--teacher NAME`` or ``--reparse``, needs what is not ``given`` or has no use for what
    is; what no teacher has a use for is not looked at."""
    needed, allowed = _USES[who]
    useless = {name for row in _USES.values() for name in sum(row, ())} - {*needed, *allowed}
    for name, value in given.items():
        flag = name.replace("_", "-")
        if name in needed and not value:
            raise InputError(f"{who} needs --{flag}; `sgd annotate --help` says what that is.")
        if name in useless and value:
            raise InputError(f"--{flag} is of no use to {who}; leave it out.")


def by_name(template: str) -> Template:
    """A template by its name; ``none`` is the rules' own."""
    from sgd_hf.corpus.templates import TEMPLATES

    templates = {RuleTemplate.name: RuleTeacher.template, **TEMPLATES}
    if template not in templates:
        raise InputError(f"There is no template {template!r}; give one of {', '.join(TEMPLATES)}.")
    return templates[template]
