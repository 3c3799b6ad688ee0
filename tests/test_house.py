"""The house: a lower room never imports a higher one, `sgd --help` is light, and nothing of one machine is in the tree."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sgd_hf"
ROOMS = ("core", "scienceworld", "corpus", "training", "agent", "evaluation", "metrics", "release", "cli")
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem not in ("__init__", "__main__"))


def room(parts):
    """The room of a module, given as the parts of its name after ``sgd_hf``; what stands at the top is the command line's."""
    return parts[0] if parts and parts[0] in ROOMS else "cli"


def imported(path):
    """Every ``sgd_hf`` module that a file imports, function-level imports included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module if node.module != "sgd_hf" else f"sgd_hf.{node.names[0].name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_lower_ones(path):
    own = ROOMS.index(room(path.relative_to(SOURCE).with_suffix("").parts))
    for name in imported(path):
        if name.startswith("sgd_hf.") and name != "sgd_hf.__version__":
            assert ROOMS.index(room(name.split(".")[1:])) <= own, f"{path.name} imports {name}"


def test_the_command_line_loads_nothing_heavy():
    heavy = ("torch", "transformers", "datasets", "trl", "py4j", "matplotlib", "pandas", "scienceworld", "pyarrow")
    code = f"import sys, sgd_hf.cli; print([name for name in {heavy!r} if name in sys.modules])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_no_path_of_one_machine_is_in_the_tree():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    private = re.compile(rb"(?<![\w.])/(?:home|Users|work|root|tmp/v)/\w")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file():
            found = private.search(path.read_bytes())
            assert not found, f"{name}: {found[0]!r}"
