"""Files that come with the package but are not code: recipes and card templates.

Guarantee: `asset` finds them in a checkout, where they stand at the top level to be read and edited, and in an
installed wheel, which carries them inside the package.
"""

from pathlib import Path

from sgd_hf.core.errors import InputError

_PACKAGE = Path(__file__).parents[1]


def asset(*parts: str) -> Path:
    """The path of, for example, ``asset("recipes", "tiny", "planner.yaml")``."""
    for root in (_PACKAGE / "assets", _PACKAGE.parents[1]):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise InputError(f"{'/'.join(parts)} does not come with this installation; reinstall sgd-hf or give the file's own path.")
