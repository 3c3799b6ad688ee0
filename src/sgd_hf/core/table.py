"""A table on the terminal, in one style: names at the left, figures at the right, nothing around them.

Guarantee: no name is cut, whatever the terminal's width, and none is taken for markup.
"""

from typing import Any


class Table:
    """``name``: the title of the column of names; ``figures``: those of the columns after it."""

    def __init__(self, title: str, name: str, *figures: str):
        from rich.box import SIMPLE
        from rich.markup import escape
        from rich.table import Table

        self._rich = Table(title=escape(title), title_justify="left", box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
        self._rich.add_column(name, overflow="fold", min_width=15)
        for figure in figures:
            self._rich.add_column(figure, justify="right")

    def add(self, name: str, *figures: str, bold: bool = False) -> None:
        """One row."""
        from rich.text import Text

        self._rich.add_row(Text(name), *figures, style="bold" if bold else None)

    def __rich__(self) -> Any:
        from rich.padding import Padding

        return Padding(self._rich, (0, 0, 1, 0), expand=False)
