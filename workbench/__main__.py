"""Command line: ``python -m workbench``; the commands come with a later version."""

from __future__ import annotations

import sys


def main() -> int:
    """Say plainly that the commands are not there yet; exit status 2."""
    print(
        "workbench: derive, evaluate, flow, critical, landscape, verify, theorem and report are not there yet",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
