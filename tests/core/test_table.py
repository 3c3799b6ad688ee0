"""A table shows every name whole and nothing as markup, on a narrow terminal too."""

import io

from rich.console import Console

from sgd_hf.core.table import Table


def shown(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_names_are_whole_and_no_markup():
    table = Table("runs [of] a", "task", "macro", "95 %")
    table.add("power-component-renewable-vs-nonrenewable-energy [red]", "44.0", "37.0–51.5", bold=True)
    assert "runs [of] a" in shown(table) and "energy [red]" in shown(table) and "37.0–51.5" in shown(table)
    narrow = shown(table, 40)
    assert max(map(len, narrow.splitlines())) <= 40 and "…" not in narrow
    assert "energy[red]" in "".join(line[:15].strip() for line in narrow.splitlines()).replace(" ", "")
