"""Sphinx settings.  Formulas become MathML while building, so the pages need no script and no network."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "Landscape workbench"
author = "The workbench developers"
copyright = f"2026, {author}"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

# myst_nb reads Markdown as well, by myst_parser.
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nb_execution_mode = "off"  # notebooks are stored with their outputs, which the tests compare
nb_render_markdown_format = "myst"  # tables and formulas in outputs
html_theme = "furo"
html_title = project
html_math_renderer = "mathml"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["formulas.css"]

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_custom_sections = ["Assumptions", "Source"]
napoleon_use_rtype = False
napoleon_preprocess_types = True
napoleon_type_aliases = {"Status": "derivations.claim.Status"}  # numerics.flow has another one


def plainer(source: str) -> str:
    """Write a formula in the LaTeX that docutils reads: braces everywhere, indices apart from accents, no synonyms."""
    source = re.sub(r"\\([dt]?frac)\s*([0-9A-Za-z])\s*([0-9A-Za-z])", r"\\\1{\2}{\3}", source)
    accents = r"(\\(?:dot|hat|bar|tilde|vec)(?:\s*\{[^{}]*\}|\s+[A-Za-z]|\s*\\[A-Za-z]+))(?=\s*[_^])"
    source = re.sub(accents, r"\1{}", source)
    for known, synonym in ((r"\ldots", "dots"), (r"\Longleftrightarrow", "iff"), ("", "textstyle")):
        source = re.sub(rf"\\{synonym}(?![A-Za-z])", lambda _, known=known: known, source)
    return source


def mathml(node: nodes.math | nodes.math_block, as_block: bool) -> str:
    """Translate one formula; what docutils cannot translate is shown as the LaTeX it is."""
    from docutils import nodes  # here, so that this file can be read where Sphinx is not installed
    from docutils.utils.math import MathError
    from docutils.utils.math.latex2mathml import tex2mathml

    source = plainer(node.astext())
    if as_block and "&" in source and r"\begin{" not in source:
        source = rf"\begin{{aligned}}{source}\end{{aligned}}"
    try:
        found = tex2mathml(source, as_block=as_block)
        if r"\left" not in source:  # fences keep the size of a letter
            found = re.sub(
                r'<mo(?: class="mathopen")?>([⟨⟩‖|{}])</mo>', r'<mo stretchy="false">\1</mo>', found
            )
        return found
    except MathError:
        element = nodes.literal_block(source, source) if as_block else nodes.literal(source, source)
        text = element.astext().replace("&", "&amp;").replace("<", "&lt;")
        return f"<pre>{text}</pre>" if as_block else f"<code>{text}</code>"


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write an inline formula."""
    from docutils import nodes

    translator.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def visit_display(translator: Any, node: nodes.math_block) -> None:
    """Write a displayed formula."""
    from docutils import nodes

    translator.body.append(f'<div class="math">{mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def keep_bars(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escape what docstrings write as in a text but reST reads as markup: bars of absolute values, a lone star.

    Literals, formulas and examples stay as they are.
    """
    formula: int | None = None  # indentation of the math directive we are in
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if formula is not None and line.strip() and indent <= formula:
            formula = None
        if line.lstrip().startswith(".. math::"):
            formula = indent
        if formula is not None or line.lstrip().startswith((">>>", "...")):
            continue
        parts = re.split(r"(`+[^`]*`+)", line)
        for k in range(0, len(parts), 2):
            parts[k] = re.sub(r"(?<![\w*])\*(?=\w[^*]*$)", r"\*", parts[k].replace("|", r"\|"))
        lines[number] = "".join(parts)


def setup(app: Any) -> None:
    """Register the renderer of formulas and the reader of docstrings."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    app.connect("autodoc-process-docstring", keep_bars)
