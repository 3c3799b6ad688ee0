"""The demo as a Hub Space: recorded episodes to step through and, where an agent is named, episodes played live.

Guarantee: the folder needs nothing but the packages that its ``requirements.txt`` and ``packages.txt`` name: it loads
no font and no script from elsewhere, reports nothing to anyone, and, started by hand, listens on this machine only.

    app.py             starts it
    requirements.txt   this version of sgd-hf
    packages.txt       Java, for live play
    README.md          the Space's card
    episodes.parquet   the recorded episodes, a `Rollout` a row
    agent.json         the agent that plays live: ``source`` and ``revision``; absent where there is none
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgd_hf import __version__
from sgd_hf.core.errors import InputError, StoreError
from sgd_hf.core.records import Rollout, features, from_row, to_row
from sgd_hf.core.store import write_json

EPISODES, AGENT = "episodes.parquet", "agent.json"
TITLE = "Sub-goals in ScienceWorld"
SDK = "6.31.0"
"""the version of Gradio that the Space is made for"""


def space(folder: Path, episodes: Sequence[Rollout], agent: dict[str, Any] | None = None) -> None:
    """Write the Space into a folder that exists. ``agent``: ``{"source": Hub id or folder, "revision": commit or null}`` of
    the agent that plays live, None for recorded episodes alone. Raises `InputError` where there is no episode."""
    import pyarrow
    import pyarrow.parquet
    from jinja2 import Environment, StrictUndefined

    if not episodes:
        raise InputError("A Space needs recorded episodes to show; give the rollouts of an evaluation.")
    here = Path(__file__).parent
    table = pyarrow.Table.from_pylist([to_row(rollout) for rollout in episodes], schema=features(Rollout).arrow_schema)
    pyarrow.parquet.write_table(table, folder / EPISODES, compression="zstd")
    shutil.copyfile(here / "app.py", folder / "app.py")
    extra = "[train]" if agent else ""
    (folder / "requirements.txt").write_text(f"sgd-hf{extra}=={__version__}\n")
    (folder / "packages.txt").write_text("default-jre-headless\n")
    card = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True).from_string(
        (here / "card.md.jinja").read_text()
    )
    arms = list(dict.fromkeys(rollout.arm for rollout in episodes))
    (folder / "README.md").write_text(card.render(title=TITLE, sdk=SDK, agent=agent, episodes=len(episodes), arms=arms))
    if agent:
        write_json(folder / AGENT, agent)


def read_episodes(folder: Path) -> list[Rollout]:
    """The recorded episodes of a Space."""
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(folder / EPISODES).to_pylist()
    except (OSError, pyarrow.ArrowInvalid):
        raise StoreError(f"{folder / EPISODES} is missing or damaged; write the Space again with `sgd release`.") from None
    return [from_row(Rollout, row) for row in rows]


def named_agent(folder: Path) -> dict[str, Any] | None:
    """The agent that plays live: what ``SGD_AGENT`` says (a folder, an id, or id@revision), else what the folder names."""
    said = os.environ.get("SGD_AGENT", "")
    if said:
        source, _, revision = said.partition("@")
        return {"source": source, "revision": revision or None}
    path = folder / AGENT
    return json.loads(path.read_text()) if path.exists() else None
