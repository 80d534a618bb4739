"""Small HTML tables: every cell is escaped."""

from __future__ import annotations

from derivations.html_table import html_table


def test_nothing_in_a_table_is_markup():
    page = html_table(("<b>",), [("<script>",), ("a & b",)], "</caption>")
    assert "<script>" not in page
    assert "<b>" not in page
    assert page.count("</caption>") == 1
    assert "&lt;script&gt;" in page
    assert "a &amp; b" in page


def test_a_table_without_rows_has_its_heads():
    assert html_table(("a",), []) == "<table><tr><th>a</th></tr></table>"
