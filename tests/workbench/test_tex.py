"""Escaping, numbers, and a compiler that is kept on a short lead."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from workbench import tex
from workbench.tex import Tex, breakable, compile_pdf, escape, number

HOSTILE = r"\input{/etc/passwd} $%&_#{}~^\ --- ,, '' `a` <b> \"|\" \end{document}"
DOCUMENT = r"""\documentclass[11pt,a4paper]{article}
\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\usepackage{textcomp}\usepackage{lmodern}\usepackage{amsmath}
\usepackage{graphicx}\usepackage[margin=25mm]{geometry}
\begin{document}
BODY
\end{document}
"""


def write(folder: Path, body: str, name: str = "a.tex") -> Path:
    path = folder / name
    path.write_text(DOCUMENT.replace("BODY", body), encoding="utf-8")
    return path


def test_every_special_character_is_escaped() -> None:
    assert escape("$%&_#{}~^\\") == (r"\$\%\&\_\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}")
    assert escape("a--b") == "a-{}-b"
    assert escape("a-b, c") == "a-b, c"
    assert escape("x\x00\ty\u4e2d") == "x  y{[}U+4E2D{]}"
    assert escape("e\u0301γ") == r"é\ensuremath{\gamma}"
    assert escape(Tex(r"\alpha")) == r"\alpha"
    assert escape(escape("50%")) == r"50\%"
    assert isinstance(escape(3), Tex)


def test_long_words_may_break_and_nothing_is_lost() -> None:
    word = "/home/some_one/" + "a" * 64
    assert breakable("short word") == "short word"
    assert breakable(word).replace(r"\allowbreak{}", "") == escape(word)
    assert max(map(len, breakable(word).split(r"\allowbreak{}"))) < 24


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (0.0, 6, "0"),
        (-0.0, 6, "0"),
        (0.0401125, 6, "0.0401125"),
        (-0.5, 3, "$-0.500$"),
        (0.9999999, 3, "1.00"),
        (99999.96, 6, "100000"),
        (1234567.0, 6, r"$1.23457\times 10^{6}$"),
        (2.24e-17, 2, r"$2.2\times 10^{-17}$"),
        (-3.1e-5, 2, r"$-3.1\times 10^{-5}$"),
        (9.99e-5, 2, "0.00010"),
        (float("inf"), 2, r"$\infty$"),
        (float("nan"), 2, "NaN"),
        (12, 2, "12"),
        (-12, 2, "$-12$"),
        (None, 2, "--"),
        ("x_1", 2, r"x\_1"),
        (True, 2, "True"),
    ],
)
def test_numbers(value: object, digits: int, expected: str) -> None:
    assert number(value, digits) == expected


def test_trimmed_numbers_keep_their_integer_zeros() -> None:
    assert number(100.0, 6, trim=True) == "100"
    assert number(0.5, 6, trim=True) == "0.5"
    assert number(2e10, 6, trim=True) == r"$2\times 10^{10}$"


def test_without_a_latex_the_message_names_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path, "x")
    monkeypatch.setattr(tex.shutil, "which", lambda _: None)
    result = compile_pdf(source)
    assert result.pdf is None
    assert "apt-get install latexmk texlive-latex-recommended texlive-pictures lmodern" in result.message
    assert list(tmp_path.iterdir()) == [source]


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        compile_pdf(tmp_path / "nothing.tex")


@pytest.mark.tex
def test_escaped_text_is_printed_as_it_was_written(tmp_path: Path) -> None:
    letters = "".join(sorted(tex.LETTERS))
    words = [letters[at : at + 12] for at in range(0, len(letters), 12)]
    lines = [HOSTILE, *words, *tex.SPECIAL, *tex.GREEK]
    result = compile_pdf(write(tmp_path, "\n\n".join(rf"\noindent {escape(line)}" for line in lines)))
    assert result.message == ""
    assert result.pdf is not None
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext; on Debian: apt-get install poppler-utils")
    shown = subprocess.run(
        ["pdftotext", "-raw", result.pdf, "-"], capture_output=True, text=True, check=True
    ).stdout
    shown = unicodedata.normalize("NFKC", shown).replace("Ð", "Đ")  # the fonts have one glyph for both
    assert HOSTILE.replace("'", "’") in shown.replace("'", "’")
    for word in words:
        assert unicodedata.normalize("NFKC", word).replace("Ð", "Đ") in shown


@pytest.mark.tex
def test_the_log_is_read(tmp_path: Path) -> None:
    body = r"\hbox to 1cm{\hbox{}\hskip 20pt\vrule width 30pt}\mbox{\rule{600pt}{1pt}} \ref{nowhere} \cite{nobody}"
    result = compile_pdf(write(tmp_path, body))
    assert result.pdf == tmp_path / "a.pdf"
    assert max(result.overfull) > 100
    assert set(result.undefined) == {"nowhere", "nobody"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.tex"]


@pytest.mark.tex
def test_an_error_is_quoted_and_its_log_kept_until_the_next_run(tmp_path: Path) -> None:
    result = compile_pdf(write(tmp_path, r"\undefinedcommand"))
    assert result.pdf is None
    assert "Undefined control sequence" in result.message
    assert result.log_path == tmp_path / "a.log"
    assert "undefinedcommand" in result.log_path.read_text()
    assert compile_pdf(write(tmp_path, "fine")).pdf is not None
    assert not result.log_path.exists()


def test_the_compiler_is_started_with_every_restriction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("latexmk", "pdflatex"):
        (programs / name).write_text(
            f'#!/bin/sh\necho {name} "$@" > {tmp_path}/arguments\n/usr/bin/env > {tmp_path}/env\n'
        )
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("TEXINPUTS", "/somewhere")
    result = compile_pdf(write(tmp_path, "x"))
    assert result.message == "no PDF: LaTeX failed without saying why"
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[0] == "latexmk"
    assert {"-norc", "-halt-on-error", "-interaction=nonstopmode", "-latexoption=-no-shell-escape"} <= set(
        arguments
    )
    settings = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert (settings["openin_any"], settings["openout_any"]) == ("p", "p")
    assert settings["HOME"].startswith(settings["PWD"])
    assert set(settings) <= {
        "PATH", "HOME", "openin_any", "openout_any", "max_print_line", "SOURCE_DATE_EPOCH", "PWD", "_", "SHLVL", "OLDPWD",
    }  # fmt: skip
    (programs / "latexmk").unlink()
    compile_pdf(write(tmp_path, "x"))
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[0] == "pdflatex"
    assert {"-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode"} <= set(arguments)


@pytest.mark.tex
def test_a_file_outside_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.tex").write_text("secret")
    (tmp_path / "part.pdf").write_text("not taken along")
    result = compile_pdf(write(tmp_path, rf"\input{{{tmp_path}/secret.tex}}"))
    assert result.pdf is None
    assert "secret" in result.message


@pytest.mark.tex
@pytest.mark.parametrize(
    "body",
    [
        r"\input{/etc/passwd}",
        r"\immediate\write18{touch STOLEN}\input{nothing}",
        r"\newwrite\f\immediate\openout\f=STOLEN \immediate\write\f{x}\immediate\closeout\f\input{nothing}",
        r"\input{|touch STOLEN}",
    ],
)
def test_a_document_reads_and_writes_nothing_outside(body: str, tmp_path: Path) -> None:
    stolen = tmp_path / "stolen"
    result = compile_pdf(write(tmp_path, body.replace("STOLEN", str(stolen))))
    assert result.pdf is None
    assert not stolen.exists()


@pytest.mark.tex
def test_a_latexmkrc_beside_the_source_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "latexmkrc").write_text(f"system('touch {tmp_path}/ran');")
    (tmp_path / ".latexmkrc").write_text(f"system('touch {tmp_path}/ran');")
    assert compile_pdf(write(tmp_path, "x")).pdf is not None
    assert not (tmp_path / "ran").exists()


@pytest.mark.tex
def test_an_endless_document_is_stopped_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    real = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = real(*arguments, **options)
        started.append(process.pid)
        return process

    monkeypatch.setattr(tex.subprocess, "Popen", popen)
    began = time.monotonic()
    result = compile_pdf(write(tmp_path, r"\def\x{\x}\x"), timeout=2)
    assert result.pdf is None
    assert "stopped after 2 s" in result.message
    (group,) = started
    while lives(group) and time.monotonic() - began < 20:
        time.sleep(0.05)  # the orphans of latexmk are collected by init, after a moment
    assert not lives(group)


def lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.tex
def test_names_with_blanks_and_signs_are_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "a b %$"
    folder.mkdir()
    assert compile_pdf(write(folder, "x", "-my #1.tex")).pdf == folder / "-my #1.pdf"


@pytest.mark.tex
def test_pdflatex_alone_settles_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which
    monkeypatch.setattr(tex.shutil, "which", lambda name: None if name == "latexmk" else real(name))
    result = compile_pdf(write(tmp_path, r"\section{A}\label{a} See \ref{a}."))
    assert result.pdf is not None
    assert result.undefined == ()


@pytest.mark.tex
def test_a_pdf_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path, "x")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        compile_pdf(source)
    assert list(tmp_path.iterdir()) == [source]
