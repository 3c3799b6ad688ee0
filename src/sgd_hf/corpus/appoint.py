"""Who annotates, by the words of a command line.

Guarantee: what the chosen teacher cannot do without is asked for in one sentence before anything is started, and
what it has no use for is refused rather than ignored.
"""

import shlex
from functools import partial
from pathlib import Path

from sgd_hf.core.errors import InputError
from sgd_hf.core.safety import weights_digest
from sgd_hf.corpus.teachers import RuleTeacher, RuleTemplate, Teacher, Template


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
    given = {
        "template": template, "model": model, "revision": revision, "base-url": base_url, "server-flags": server_flags,
        "grammar": grammar or None, "recording": recording, "concurrency": concurrency, "timeout": timeout_s,
    }  # fmt: skip
    needed, allowed = {
        "rules": ((), ()),
        "endpoint": (("base-url", "model"), ("template", "revision", "grammar", "concurrency", "timeout")),
        "vllm": (("model",), ("template", "revision", "server-flags", "concurrency", "timeout")),
        "recorded": (("recording",), ("template",)),
    }[name]
    for flag, value in given.items():
        if flag in needed and value is None:
            raise InputError(f"--teacher {name} needs --{flag}; `sgd annotate --help` says what that is.")
        if flag not in needed + allowed and value is not None:
            raise InputError(f"--{flag} is of no use to --teacher {name}; leave it out.")
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


def by_name(template: str) -> Template:
    """A template by its name; ``none`` is the rules' own."""
    from sgd_hf.corpus.templates import TEMPLATES

    templates = {RuleTemplate.name: RuleTeacher.template, **TEMPLATES}
    if template not in templates:
        raise InputError(f"There is no template {template!r}; give one of {', '.join(TEMPLATES)}.")
    return templates[template]
