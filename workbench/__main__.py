"""Entry of the command line: runs a command and turns whatever comes out of it into a message and an exit status."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

DONE, REFUTED, BAD_INPUT, INTERNAL, INTERRUPTED, BROKEN_PIPE, TERMINATED = 0, 1, 2, 3, 130, 141, 143


class _Terminated(BaseException):
    """SIGTERM: no `Exception`, so that nothing on the way takes it for an error it could handle."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; ``arguments`` defaults to those of the process.

    0 done; 1 done, and a claim is refuted; 2 bad input; 3 an error of the workbench; 130 interrupted; 141 the reader
    of the output is gone; 143 terminated.
    """
    meta: dict[str, Any] = {}
    try:
        with _sigterm_raises(), _warnings_as_lines():
            status = _run(list(sys.argv[1:] if arguments is None else arguments), meta)
            if sys.stdout is not None:  # it is None where the caller has closed it
                sys.stdout.flush()
            return status
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except _Terminated:
        _say("terminated")
        return TERMINATED
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except Exception as error:
        if meta.get("verbose"):
            import traceback

            traceback.print_exc()
        status, message = _explain(error)
        _say(message)
        try:
            sys.stdout.flush()
        except (OSError, AttributeError):  # a full disk: what is left cannot be written either
            _drop_output()
        return status


def _run(arguments: list[str], meta: dict[str, Any]) -> int:
    """Parse and run; the errors of the parser become messages here, all others pass."""
    import typer

    from workbench.cli import app

    command = typer.main.get_command(app)
    try:
        with command.make_context("workbench", arguments, obj=meta) as context:
            command.invoke(context)
    except typer.Exit as leave:
        return int(leave.exit_code)
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:
        if not hasattr(
            error, "format_message"
        ):  # what marks an error of the parser, in every version of typer
            raise
        at = getattr(getattr(error, "ctx", None), "command_path", "workbench")
        _say(f"{error.format_message()}\nTry '{at} --help'.")
        return BAD_INPUT
    return DONE


def _explain(error: Exception) -> tuple[int, str]:
    """Return the exit status and the message for an error that ended a command."""
    if isinstance(error, (ValueError, NotImplementedError)) and str(error):
        return BAD_INPUT, str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return BAD_INPUT, f"{place}{error.strerror or error}"
    kind = type(error).__name__
    if kind == "CompilerError":  # known by its name, as PyTorch may not have been imported
        return BAD_INPUT, str(error)
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        return INTERNAL, "out of memory; fewer --starts, a smaller width or fewer points may fit"
    text = " ".join(str(error).split())
    if len(text) > 300:
        text = f"{text[:300]}..."
    return INTERNAL, (
        f"internal error: {kind}: {text}\n"
        "This is a fault of the workbench: please report it with the study, and with what the same command prints "
        "under --verbose."
    )


def _say(message: str) -> None:
    """Write to standard error, if that is still there."""
    with contextlib.suppress(OSError, ValueError):
        print(f"workbench: {message}", file=sys.stderr, flush=True)


def _drop_output() -> None:
    """Send what is still buffered nowhere: the interpreter flushes once more when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that drafts of files are removed and the terminal is left in order."""

    def terminate(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show a warning as one line, without the place in the source it comes from."""
    with warnings.catch_warnings():

        def show(message: Warning | str, *_: object, **__: object) -> None:
            _say(f"warning: {' '.join(str(message).split())}")

        warnings.showwarning = show
        yield


if __name__ == "__main__":
    sys.exit(main())
