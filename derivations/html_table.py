"""Small HTML tables in which results display themselves; every cell is escaped.

>>> html_table(("a", "b"), [(1, "<2>")], "two & one")
'<table><caption>two &amp; one</caption><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>&lt;2&gt;</td></tr></table>'
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

__all__ = ["html_table"]


def html_table(heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table with a heading row; mathematics stands between dollars, as notebooks typeset it."""

    def line(tag: str, cells: Sequence[object]) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(str(cell))}</{tag}>' for cell in cells)}</tr>"

    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{title}{line('th', heads)}{''.join(line('td', row) for row in rows)}</table>"
