r"""LaTeX as text: escaping, numbers, and running the compiler on a machine that may have none.

Whatever a user wrote (titles, file names) is escaped; what this project composed is marked :class:`Tex`.

>>> escape("50% of $x_1$ \\input{a}")
'50\\% of \\$x\\_1\\$ \\textbackslash{}input\\{a\\}'
>>> number(0.0401125), number(2.2e-17, 2), number(0.0)
('0.0401125', '$2.2\\times 10^{-17}$', '0')
"""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from workbench.atomic import replacing

__all__ = ["PACKAGES", "Tex", "TexResult", "breakable", "compile_pdf", "escape", "number"]

PACKAGES = "latexmk texlive-latex-recommended texlive-pictures lmodern"
PASSES = 3  # of pdflatex without latexmk: references settle in the second, long tables in the third

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line break it would begin an argument
    "]": "{]}",
    "*": "{*}",
    "\u2013": "--",
    "\u2014": "---",
    "\u2018": "`{}",
    "\u2019": "'{}",
    "\u201c": "``",
    "\u201d": "''{}",
    "\u2026": r"\ldots{}",
    "\u2192": r"\ensuremath{\to}",
    "\u2264": r"\ensuremath{\le}",
    "\u2265": r"\ensuremath{\ge}",
    "\u221e": r"\ensuremath{\infty}",
    "\u2202": r"\ensuremath{\partial}",
    "\u00d7": r"\ensuremath{\times}",
    "\u00b7": r"\ensuremath{\cdot}",
    "\u00b1": r"\ensuremath{\pm}",
    "\u2212": r"\ensuremath{-}",
    "\u00b2": r"\ensuremath{^2}",
    "\u00b3": r"\ensuremath{^3}",
    "\u00b0": r"\ensuremath{^\circ}",
}
GREEK_LETTERS = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ"
GREEK_NAMES = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon "
    "varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
GREEK = dict(zip(GREEK_LETTERS, GREEK_NAMES.split(" "), strict=True))
JOINED = "-,'"  # two of them would become a dash or a quotation mark
#: Letters that the T1 encoding of every LaTeX has.
LETTERS = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ"
    "ĂăĄąĆćČčĎďĐđĘęĚěĞğİıŁłŃńŇňŐőŒœŔŕŘřŚśŞşŠšŢţŤťŮůŰűŸŹźŻżŽž"
)


class Tex(str):
    """Text that is LaTeX already and is not escaped again."""

    __slots__ = ()


def escape(text: object) -> Tex:
    r"""Return any text as LaTeX that prints it; text that is :class:`Tex` is returned as it is.

    Characters without a form in the Latin fonts are shown by their number, control characters as a space.
    """
    if isinstance(text, Tex):
        return text
    plain = unicodedata.normalize("NFC", str(text))
    pieces = [
        ("{}" if c in JOINED and c == before else "") + _character(c)
        for before, c in zip(" " + plain, plain, strict=False)
    ]
    return Tex("".join(pieces))


def _character(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if character in GREEK:
        return rf"\ensuremath{{\{GREEK[character]}}}"
    if character in LETTERS or " " <= character <= "~":
        return character
    if character.isspace() or unicodedata.category(character) == "Cc":
        return " "
    return f"{{[}}U+{ord(character):04X}{{]}}"


def breakable(text: object) -> Tex:
    r"""Escape, and let long words (hashes, paths) break: after ``/ . _ =`` and inside every 16 characters."""
    words = []
    for word in re.split(r"( )", str(text)):
        pieces = re.findall(r"[^/._=]{1,16}[/._=]*|[/._=]+", word) if len(word) > 24 else [word]
        words.append(r"\allowbreak{}".join(escape(piece) for piece in pieces))
    return Tex("".join(words))


def number(value: object, digits: int = 6, *, trim: bool = False) -> Tex:
    """Print a number to some significant digits, with a power of ten where it is very small or large.

    ``trim`` drops zeros at the end, which for a chosen number (1/2) say nothing.
    Zero is ``0``, an integer is printed in full, None is a dash; text and expressions are escaped.
    """
    if value is None:
        return Tex("--")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(value)
    if isinstance(value, int):
        return Tex(f"${value}$" if value < 0 else str(value))
    if math.isnan(value):
        return Tex("NaN")
    if math.isinf(value):
        return Tex(r"$\infty$" if value > 0 else r"$-\infty$")
    if value == 0:
        return Tex("0")
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    exponent = int(power)
    if -4 <= exponent < max(digits, 3):
        plain = f"{value:.{max(digits - 1 - exponent, 0)}f}"
        if trim and "." in plain:
            plain = plain.rstrip("0").rstrip(".")
        return Tex(f"${plain}$" if value < 0 else plain)
    if trim and "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return Tex(rf"${mantissa}\times 10^{{{exponent}}}$")


@dataclass(frozen=True)
class TexResult:
    """What a compilation gave.

    Attributes
    ----------
    pdf : Path or None
        The document, or None: ``message`` says why.
    message : str
        One line; empty after success.
    overfull : tuple of float
        By how many points lines stand out into the margin.
    undefined : tuple of str
        References and citations that lead nowhere.
    log_path : Path or None
        The compiler's log, kept beside the source where something failed.
    """

    pdf: Path | None
    message: str = ""
    overfull: tuple[float, ...] = ()
    undefined: tuple[str, ...] = ()
    log_path: Path | None = None


def compile_pdf(tex_path: str | Path, *, timeout: float = 180) -> TexResult:
    r"""Compile a document and put the PDF beside it, whole or not at all.

    The compiler works in a temporary folder that holds the source and the figures it includes; it may start no
    program, and read and write there only.  No start-up file is read.

    Parameters
    ----------
    tex_path : str or Path
        The source.  Only figures in its folder or below are taken along.
    timeout : float
        Seconds after which the compiler and all it started are killed.

    Returns
    -------
    TexResult
        Never an exception for a document that does not compile, or a machine without LaTeX.

    Raises
    ------
    FileNotFoundError
        If there is no such source.
    """
    source = Path(tex_path)
    text = source.read_text(encoding="utf-8")
    target, kept = source.with_suffix(".pdf"), source.with_suffix(".log")
    kept.unlink(missing_ok=True)
    commands = _commands()
    if not commands:
        return TexResult(None, f"no PDF: this machine has no LaTeX; on Debian: apt-get install {PACKAGES}")
    with tempfile.TemporaryDirectory(prefix="workbench-tex-") as name:
        folder = Path(name)
        (folder / "home").mkdir()
        (folder / "document.tex").write_text(text, encoding="utf-8")
        _take_figures(text, source.absolute().parent, folder)
        message = _run(commands, folder, timeout)
        log, pdf = folder / "document.log", folder / "document.pdf"
        report = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        overfull = tuple(float(v) for v in re.findall(r"Overfull \\hbox \((\d+\.?\d*)pt too wide\)", report))
        undefined = tuple(dict.fromkeys(re.findall(r"(?:Citation|Reference) `([^']*)' .*undefined", report)))
        if message or not pdf.exists():
            message = message or _first_errors(report)
            if report:
                with replacing(kept) as draft:
                    shutil.copyfile(log, draft)
            return TexResult(None, f"no PDF: {message}", overfull, undefined, kept if report else None)
        with replacing(target) as draft:
            shutil.copyfile(pdf, draft)
    return TexResult(target, "", overfull, undefined)


def _commands() -> list[list[str]]:
    """Find what to run: latexmk, or pdflatex several times; nothing where neither is there."""
    options = ["-interaction=nonstopmode", "-halt-on-error", "-file-line-error"]
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        return []
    if latexmk := shutil.which("latexmk"):
        return [[latexmk, "-norc", "-pdf", *options, "-latexoption=-no-shell-escape", "document.tex"]]
    return [[pdflatex, "-no-shell-escape", *options, "document.tex"]] * PASSES


def _take_figures(text: str, origin: Path, folder: Path) -> None:
    """Copy the included figures that lie in the folder of the source, or below it."""
    for name in re.findall(r"\\includegraphics(?:\[[^\]]*\])?\{([^{}\\]+)\}", text):
        path = (origin / name).resolve()
        if path.is_file() and path.is_relative_to(origin.resolve()) and not Path(name).is_absolute():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _run(commands: list[list[str]], folder: Path, timeout: float) -> str:
    """Run the commands in the folder; return why they had to be stopped, or nothing."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder / "home"),
        "openin_any": "p",
        "openout_any": "p",
        "max_print_line": "1000",
        "SOURCE_DATE_EPOCH": "0",
    }
    for command in commands:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        except BaseException as stop:  # also an interruption from the keyboard: nothing may live on
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(stop, subprocess.TimeoutExpired):
                return f"LaTeX was stopped after {timeout:g} s"
            raise
        if process.returncode:
            break
    return ""


def _first_errors(report: str) -> str:
    """Quote the first lines of the log that tell an error."""
    lines = [line.strip() for line in report.splitlines() if re.match(r"! |.{1,200}:\d+: ", line)]
    return "LaTeX says: " + " / ".join(lines[:3]) if lines else "LaTeX failed without saying why"
