"""The package's types hold, for itself and for who uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def test_mypy_finds_nothing(tmp_path):
    """In the package that is installed, and in a program that uses it as the page does."""
    pytest.importorskip("mypy")
    words = ["--config-file", str(HERE.parent / "pyproject.toml"), "--cache-dir", str(tmp_path), "-p", "mspipe"]
    for checked in (words, [*words[:4], str(HERE / "typed.py")]):
        done = subprocess.run([sys.executable, "-m", "mypy", *checked], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
