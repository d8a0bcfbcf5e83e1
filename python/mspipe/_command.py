"""The command `mspipe`: the same program as the one that cargo builds."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command line of this process and returns its exit code."""
    from . import _native

    return _native.main(["mspipe", *sys.argv[1:]])
