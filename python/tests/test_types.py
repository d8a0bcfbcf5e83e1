"""The package's types hold, for itself and for who uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def finds_nothing(checker, *words, cwd):
    done = subprocess.run([sys.executable, "-m", checker, *words], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_finds_nothing(tmp_path):
    """In the package that is installed, and in a program that uses it as the page does."""
    pytest.importorskip("mypy")
    words = ["--config-file", str(HERE.parent / "pyproject.toml"), "--cache-dir", str(tmp_path)]
    finds_nothing("mypy", *words, "-p", "mspipe", cwd=tmp_path)
    finds_nothing("mypy", *words, str(HERE / "typed.py"), cwd=tmp_path)


def test_the_extension_is_what_its_stub_says(tmp_path):
    pytest.importorskip("mypy")
    # Its `__all__`, which PyO3 makes, is of no use to anybody.
    finds_nothing("mypy.stubtest", "mspipe._native", "--ignore-missing-stub", cwd=tmp_path)
