"""Set limits of time, memory and output on this process, then become the program named behind ``--``.

Run as a file, ``python -I -S limited.py SECONDS BYTES -- PROGRAM ARGUMENT...``: it imports nothing of ours, so that it starts at
once, and the limits are set in the process that is limited and nowhere else.
"""

from __future__ import annotations

import os
import resource
import sys

__all__ = ["MOST_OUTPUT", "become"]

#: Bytes that a program may write into one file.
MOST_OUTPUT = 256 * 2**20


def become(arguments: list[str]) -> None:
    """Limit this process and replace it by the program."""
    seconds, size, mark, *command = arguments
    if mark != "--" or not command:
        raise SystemExit("usage: limited.py SECONDS BYTES -- PROGRAM ARGUMENT...")
    for kind, limit in (
        (resource.RLIMIT_CPU, int(seconds)),
        (resource.RLIMIT_AS, int(size)),
        (resource.RLIMIT_FSIZE, MOST_OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(kind)
        value = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(kind, (value, value))
    os.execv(command[0], command)


if __name__ == "__main__":
    become(sys.argv[1:])
