"""Audit, adapters, schedules, and the command that the wheel brings."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import mspipe

COMMAND = str(Path(sys.executable).with_name("mspipe"))


def printed(*words):
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_options_are_keywords_where_the_package_speaks(columns):
    """But in a command line."""
    said = mspipe._native.in_keywords
    assert said("fill it in (--missing zero); --no-such, a--b, -- and --sort") == "fill it in (`missing` zero); --no-such, a--b, -- and `sort`"
    assert said("with --columns src=a,features=b+c; or --columns") == 'with src="a", features=["b", "c"]; or `columns`'
    assert said("(--columns ignore=b) --max-jump") == "(features=[…] without it) `max_jump`"
    assert said("--lr-schedule\nmspipe train --sort\n") == "`lr_schedule`\nmspipe train --sort\n"
    assert said("no MPI (cargo build --features mpi); --force") == "no MPI (cargo build --features mpi); `force`"
    assert said("'mspipe train --sort' has it, '--device cpu' not") == "'mspipe train --sort' has it, '`device` cpu' not"
    renamed = {"when" if name == "timestamp" else name: column for name, column in columns.items()}
    with pytest.raises(mspipe.Error, match='say which it is with src="user_id", dst="item_id", time="COLUMN"'):
        mspipe.Dataset(renamed)
    late = mspipe.Dataset({**columns, "timestamp": columns["timestamp"] * 1000 + 1_700_000_000_000})
    assert any("`time_unit` ms makes seconds of them" in note for note in late.notes), late.notes


def test_the_audit_finds_nothing(columns, trained):
    for of in (mspipe.Dataset(columns), trained):
        found = mspipe.audit(of, probes=1, progress=False, **({} if of is trained else {"width": 8, "device": "cpu"}))
        assert found["passed"] is True and found["checks"]


def test_an_audit_says_how_its_stream_was_read(columns):
    columns["price"][3] = float("nan")
    stream = mspipe.Dataset(columns, missing="zero")
    found = mspipe.audit(stream, probes=1, progress=False, width=8, device="cpu")
    assert found["notes"] == stream.notes != []


def test_an_audit_compares_something(columns):
    for wrong in (0, -1, 10_001, 2.5):
        with pytest.raises(mspipe.Error, match="probes: found"):
            mspipe.audit(columns, probes=wrong)


@pytest.mark.skipif(sys.platform == "win32", reason="no process can send itself Ctrl-C there")
def test_ctrl_c_ends_an_audit(columns):
    begun = time.monotonic()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        # Minutes, if it went on.
        mspipe.audit(columns, probes=10_000, width=8, device="cpu", progress=False)
    assert time.monotonic() - begun < 30


def test_devices_and_simulations_are_those_of_the_command():
    assert mspipe.devices() == json.loads(printed("devices", "--json"))
    stages = {"sample": 3, "fetch_features": 2, "fetch_memory": 2, "train": 10, "update_memory": 2}
    text = ",".join(f"{stage}={time}" for stage, time in stages.items())
    simulated = mspipe.simulate(stages, memory="host")
    assert simulated == json.loads(printed("schedule", "simulate", "--stages", text, "--memory", "host", "--json"))
    assert simulated == mspipe.simulate(text, memory="host")
    assert mspipe.simulate({**stages, "train": 1e-5}) != simulated
    with pytest.raises(mspipe.Error, match="gantt: nothing is drawn"):
        mspipe.simulate(stages, gantt="g.svg")
    with pytest.raises(mspipe.Error, match="sampel"):
        mspipe.simulate({**stages, "sampel": 3})
    with pytest.raises(mspipe.Error) as raised:
        mspipe.simulate({**stages, "train": 1e-5}, rankz=3)
    assert "rankz" in str(raised.value) and "Usage" not in str(raised.value)


def test_the_command_is_the_program():
    assert printed("--version").startswith(f"mspipe {mspipe.__version__}")
    wrong = subprocess.run([COMMAND, "train", "--epohcs", "3"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "epochs" in wrong.stderr
    none = subprocess.run([COMMAND, "data", "info", "./nothing.csv"], capture_output=True, text=True)
    assert none.returncode == 1 and none.stderr.startswith("error: ")


def test_the_package_is_the_command_too():
    done = subprocess.run([sys.executable, "-m", "mspipe", "--version"], capture_output=True, text=True)
    assert done.stdout == printed("--version")


def test_importing_it_brings_no_more_than_it_needs():
    script = "import sys, mspipe; print(sorted({'numpy', 'pyarrow', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
