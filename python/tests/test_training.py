"""Runs are those of the command, bit by bit; they end as they are told to."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import SMALL

import mspipe
from mspipe import _native
from mspipe._written import settings as written

COMMAND = str(Path(sys.executable).with_name("mspipe"))

#: What differs from run to run.
TIMES = {"train_seconds", "events_per_s"}


def records(run):
    return [{name: value for name, value in record.items() if name not in TIMES} for record in run.history]


def command(dataset, settings, out):
    """The same run by the command."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in {**dataset.settings, **settings}.items()]
    done = subprocess.run([COMMAND, "train", *words, f"--out={out}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return mspipe.Run(out)


@pytest.mark.parametrize("model", ["tgn", "jodie", "apan"])
def test_a_run_has_the_bits_of_the_command(model, columns, tmp_path):
    dataset = mspipe.Dataset(columns)
    settings = {**SMALL, "model": model}
    run = mspipe.Trainer(**settings, out=tmp_path / "python").fit(dataset, progress=False)
    for threads in (1, 2, 4):
        other = command(dataset, {**settings, "threads": threads}, tmp_path / f"command-{threads}")
        assert other.losses == run.losses and len(run.losses) > 4
        assert records(other) == records(run)
        weights = [(of.folder / "weights.safetensors").read_bytes() for of in (run, other)]
        assert weights[0] == weights[1]
        for part in ("test", "edgebank", "counts"):
            assert other.summary[part] == run.summary[part]


def test_settings_are_those_of_the_command(columns, tmp_path):
    settings = {**SMALL, "memory": "host", "schedule": "staleness:2", "learning_rate": 3e-3, "hide_batch": True}
    run = mspipe.Trainer(**settings, split=(0.6, 0.2), out=tmp_path / "run").fit(columns, progress=False)
    config = run.config
    assert config["pipeline"]["memory"] == "host" and config["learning_rate"] == 3e-3
    assert config["hide_batch"] == "on" and config["reading"]["split"] == "0.6,0.2"


def test_an_unknown_setting_has_the_nearest_name():
    with pytest.raises(mspipe.Error, match="unknown setting 'epohcs'; the nearest is 'epochs'"):
        mspipe.Trainer(epohcs=3)
    with pytest.raises(mspipe.Error, match="^model: found 'tng', expected one of tgn, jodie, apan"):
        mspipe.Trainer(model="tng")
    with pytest.raises(mspipe.Error, match="epochs"):
        mspipe.Trainer(epochs="three")
    with pytest.raises(mspipe.Error, match="heads"):
        mspipe.Trainer(heads=0)
    with pytest.raises(mspipe.Error, match="fit"):
        mspipe.Trainer(data="x.csv")
    with pytest.raises(mspipe.Error, match="on_epoch: found 3"):
        mspipe.Trainer(epochs=3).fit("synthetic:wikipedia:scale=0.01", on_epoch=3)
    with pytest.raises(mspipe.Error, match="progress: found 'no', expected True or False"):
        mspipe.Trainer(epochs=3).fit("synthetic:wikipedia:scale=0.01", progress="no")
    with pytest.raises(mspipe.Error, match="out: found int, expected a path"):
        mspipe.Trainer(out=-1)
    for of in (mspipe.Run, mspipe.resume):
        with pytest.raises(mspipe.Error, match="folder: found NoneType, expected"):
            of(None)


def test_a_run_shows_what_it_gave(trained):
    assert [record["epoch"] for record in trained.history] == [1, 2]
    assert 0 <= trained.summary["test"]["ap"] <= 1
    assert "test ap" in repr(trained) and "<table>" in trained._repr_html_()
    page = trained.report()
    assert page.name == "report.html" and "<svg" in page.read_text()
    assert mspipe.Run(trained.folder).summary == trained.summary
    with pytest.raises(mspipe.Error, match="holds no run"):
        mspipe.Run(trained.folder.parent)


def test_a_run_is_found_from_anywhere_until_it_is_gone(trained, tmp_path, monkeypatch):
    copied = shutil.copytree(trained.folder, tmp_path / "copied")
    monkeypatch.chdir(tmp_path)
    run = mspipe.Run("copied")
    monkeypatch.chdir(trained.folder)
    assert run.folder == copied and run.summary == trained.summary
    shutil.rmtree(copied)
    for gone in (lambda: run.summary, lambda: run.config, lambda: run.history, run.report):
        with pytest.raises(mspipe.Error, match="copied: holds no run"):
            gone()
    assert "gone" in repr(run) and "gone" in run._repr_html_()


def test_a_table_whose_conversion_is_gone_is_told(columns, tmp_path, monkeypatch):
    monkeypatch.setenv("MSPIPE_CACHE_DIR", str(tmp_path / "cache"))
    dataset = mspipe.Dataset(columns)
    run = mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(dataset, progress=False)
    shutil.rmtree(tmp_path / "cache")
    for of in (lambda: mspipe.Trainer(**SMALL).fit(dataset), lambda: mspipe.Model.load(run, data=dataset)):
        with pytest.raises(mspipe.Error, match="'table' is gone from the cache .* make the Dataset of its table again"):
            of()
    with pytest.raises(mspipe.Error, match="conversion is gone .*data=Dataset"):
        mspipe.Model.load(run)
    assert mspipe.Model.load(run, data=mspipe.Dataset(columns)).events == 400


def test_epochs_are_told_in_order_on_the_thread_that_called(columns, tmp_path, capfd):
    told = []
    run = mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(
        columns, on_epoch=lambda record: told.append((threading.current_thread(), record))
    )
    assert [thread for thread, _ in told] == [threading.current_thread()] * 2
    assert [record for _, record in told] == [{"seed": 3, **record} for record in run.history]
    said = capfd.readouterr().err
    assert "epoch 1 " in said and "epoch 2 " in said and str(run.folder) in said


def test_an_exception_ends_the_run_and_it_can_be_resumed(columns, tmp_path):
    class Enough(Exception):
        pass

    def enough(record):
        if record["epoch"] == 2:
            raise Enough("two are enough")

    settings = {**SMALL, "epochs": 4}
    trainer = mspipe.Trainer(**settings, out=tmp_path / "run")
    with pytest.raises(Enough) as raised:
        trainer.fit(columns, on_epoch=enough, progress=False)
    assert any("mspipe.resume" in note for note in raised.value.__notes__)
    run = mspipe.Run(tmp_path / "run")
    assert len(run.history) == 2 and "not ended" in repr(run)
    with pytest.raises(mspipe.Error, match="has not ended"):
        run.summary
    with pytest.raises(mspipe.Error, match="has not ended; continue it with mspipe.resume.*mspipe report"):
        run.report()
    resumed = mspipe.resume(run, progress=False)
    whole = mspipe.Trainer(**settings, out=tmp_path / "whole").fit(columns, progress=False)
    assert resumed.losses == whole.losses and records(resumed) == records(whole)


def test_a_run_goes_on_where_its_stream_was_moved_to(columns, tmp_path):
    def stop(record):
        raise StopIteration

    text = tmp_path / "events.csv"
    rows = zip(*(column.tolist() for column in columns.values()))
    text.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]))
    with pytest.raises(StopIteration):
        mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(text, on_epoch=stop, progress=False)
    moved = text.rename(tmp_path / "moved.csv")
    with pytest.raises(mspipe.Error, match="events.csv"):
        mspipe.resume(tmp_path / "run", progress=False)
    run = mspipe.resume(tmp_path / "run", data=mspipe.Dataset(moved), progress=False)
    assert run.losses == mspipe.Trainer(**SMALL, out=tmp_path / "whole").fit(moved, progress=False).losses
    model = mspipe.Model.load(run, data=moved)
    measured = model.eval(progress=False)["test"]
    moved.rename(text)
    assert model.eval(data=mspipe.Dataset(text), progress=False)["test"] == measured
    assert mspipe.Model.load(run, data=text).eval(progress=False)["test"] == measured


@pytest.mark.skipif(sys.platform == "win32", reason="no process can send itself Ctrl-C there")
def test_ctrl_c_ends_after_the_iteration_and_leaves_a_checkpoint(columns, tmp_path):
    # As long as it takes: an epoch is a few milliseconds.
    settings = {**SMALL, "epochs": 100_000, "patience": 0}

    def interrupt(record):
        if record["epoch"] == 2:
            # As a terminal does: while the next epoch trains.
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt) as raised:
        mspipe.Trainer(**settings, out=tmp_path / "run").fit(columns, on_epoch=interrupt, progress=False)
    assert any("mspipe.resume" in note for note in raised.value.__notes__)
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()
    assert 2 <= len(mspipe.Run(tmp_path / "run").history) < 100_000


@pytest.mark.skipif(sys.platform == "win32", reason="no process can send itself Ctrl-C there")
def test_ctrl_c_that_comes_too_late_says_where_the_run_is(columns, tmp_path):
    run = tmp_path / "run"

    def after_the_end(kind, text):
        if kind == "ended":
            while not (run / "summary.json").is_file():
                time.sleep(0.001)
            raise KeyboardInterrupt

    settings = written({**mspipe.Dataset(columns).settings, **SMALL, "out": run})
    with pytest.raises(KeyboardInterrupt) as raised:
        _native.fit(settings, after_the_end)
    assert raised.value.__notes__ == [f'the run has ended; read it with: mspipe.Run("{run}")']
    assert mspipe.Run(run).summary["test"]["ap"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM that a process could hear")
def test_a_handler_of_sigterm_ends_the_run_as_ctrl_c_does(columns, tmp_path):
    def ended(number, frame):
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, ended)
    try:
        with pytest.raises(SystemExit):
            mspipe.Trainer(**{**SMALL, "epochs": 100_000, "patience": 0}, out=tmp_path / "run").fit(
                columns, on_epoch=lambda record: os.kill(os.getpid(), signal.SIGTERM), progress=False
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_is_told_rather_than_left_waiting(trained):
    script = (
        "import multiprocessing, mspipe, sys\n"
        "def asked(queue):\n"
        "    try:\n"
        "        mspipe.Model.load(sys.argv[1])\n"
        "        queue.put('loaded')\n"
        "    except mspipe.Error as error:\n"
        "        queue.put(str(error))\n"
        "if __name__ == '__main__':\n"
        "    mspipe.Model.load(sys.argv[1])\n"
        "    for way in ('fork', 'spawn'):\n"
        "        context = multiprocessing.get_context(way)\n"
        "        queue = context.Queue()\n"
        "        context.Process(target=asked, args=(queue,)).start()\n"
        "        print(queue.get(timeout=60))\n"
    )
    program = trained.folder.parent / "forks.py"
    program.write_text(script)
    done = subprocess.run([sys.executable, program, trained], capture_output=True, text=True, timeout=120)
    told, loaded = done.stdout.splitlines()
    assert "made by fork" in told and loaded == "loaded", done.stderr


def test_a_stream_that_has_changed_is_told(columns, tmp_path):
    lines = [f"{event % 7},{100 + event % 5},{event}\n" for event in range(301)]
    file = tmp_path / "events.csv"
    file.write_text("src,dst,time\n" + "".join(lines[:300]))
    dataset = mspipe.Dataset(file)
    file.write_text("src,dst,time\n" + "".join(lines))
    with pytest.warns(UserWarning, match="has changed since its Dataset was made"):
        mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(dataset, progress=False)


def test_how_a_stream_is_read_is_said_once(columns, tmp_path):
    gaps = {**columns, "amount": [None, *columns["amount"][1:].tolist()]}
    run = mspipe.Trainer(**SMALL, missing="zero", sort=True, out=tmp_path / "read").fit(gaps, progress=False)
    dataset = mspipe.Dataset(gaps, missing="zero")
    assert run.summary["data"]["hash"] == dataset.hash
    same = mspipe.Trainer(**SMALL, missing="zero", out=tmp_path / "same").fit(dataset, progress=False)
    assert same.losses == run.losses
    # What a default says, and the parts of a stream that says nothing of them.
    fine = {"missing": "zero", "sort": False, "ids": "auto", "split": (0.6, 0.2)}
    mspipe.Trainer(**SMALL, **fine, out=tmp_path / "fine").fit(dataset, progress=False)
    divided = mspipe.Dataset(gaps, missing="zero", split=(0.5, 0.2))
    with pytest.raises(mspipe.Error, match="split_at: how a stream is read"):
        mspipe.Trainer(**SMALL, split_at=(3000, 5000), out=tmp_path / "other").fit(divided, progress=False)
    for other in ({"missing": "mean"}, {"sort": True}, {"columns": "src=item_id"}, {"label": "price"}):
        with pytest.raises(mspipe.Error, match="said where"):
            mspipe.Trainer(**SMALL, **other, out=tmp_path / "other").fit(dataset, progress=False)
        with pytest.raises(mspipe.Error, match="said where"):
            mspipe.audit(dataset, probes=1, progress=False, **other)


def test_threads_are_those_of_the_first_run(tmp_path):
    script = (
        "import mspipe\n"
        "settings = dict(width=8, epochs=1, batch_size=200, device='cpu')\n"
        "data = mspipe.Dataset('synthetic:wikipedia:scale=0.01')\n"
        "data.info()\n"
        "for name, threads in (('one', 1), ('three', 3)):\n"
        f"    mspipe.Trainer(**settings, threads=threads, out={str(tmp_path)!r} + '/' + name).fit(data)\n"
        # Where nothing is shown, a warning is Python's.
        f"mspipe.Trainer(**settings, threads=5, out={str(tmp_path)!r} + '/five').fit(data, progress=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 thread\n" in done.stderr and "threads=3: this process has begun with 1" in done.stderr
    assert "threads=1:" not in done.stderr and "<string>:7: UserWarning: threads=5: this process" in done.stderr


def test_other_threads_run_meanwhile(columns, tmp_path):
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = counted[0]
    mspipe.Trainer(**SMALL, out=tmp_path / "run").fit(columns, progress=False)
    during = counted[0] - before
    stop.set()
    thread.join()
    assert during > 5


def test_seeds_and_labels_are_tasks_of_fit_too(columns, tmp_path, trained):
    told = []
    several = mspipe.Trainer(**SMALL, seeds=2, out=tmp_path / "seeds").fit(columns, on_epoch=told.append, progress=False)
    assert [(record["seed"], record["epoch"]) for record in told] == [(3, 1), (3, 2), (4, 1), (4, 2)]
    assert several.summary["seeds"] == [3, 4]
    assert [len(run.history) for run in several.seeds] == [2, 2] and trained.seeds == []
    assert "seeds 3, 4, test ap " in repr(several) and "±" in several._repr_html_()
    one = mspipe.Trainer(**SMALL, seeds=1, out=tmp_path / "one").fit(columns, progress=False)
    assert "seeds 3, test ap 0." in repr(one) and "±" not in one._repr_html_()
    told = []
    settings = {"task": "node", "init": trained.folder, "node_epochs": 2, "out": tmp_path / "labels"}
    labels = mspipe.Trainer(**settings).fit(columns, on_epoch=told.append, progress=False)
    assert [record["epoch"] for record in told] == [1, 2] and "auc" in json.dumps(labels.summary)


def test_an_error_is_the_message_of_the_command(columns, tmp_path):
    dataset = mspipe.Dataset(columns)
    settings = {**SMALL, "init": tmp_path / "nowhere.safetensors"}
    with pytest.raises(mspipe.Error) as raised:
        mspipe.Trainer(**settings, out=tmp_path / "run").fit(dataset, progress=False)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in {**dataset.settings, **settings}.items()]
    done = subprocess.run([COMMAND, "train", *words], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.strip() == f"error: {raised.value}"


def test_a_model_answers_in_on_epoch_where_there_is_one_thread(tmp_path):
    program = tmp_path / "asks.py"
    program.write_text(
        "import mspipe, sys\n"
        "stream = mspipe.Dataset('synthetic:wikipedia:scale=0.005')\n"
        "def trainer(out):\n"
        "    return mspipe.Trainer(width=8, epochs=1, batch_size=50, device='cpu', threads=1, out=f'{sys.argv[1]}/{out}')\n"
        "first = trainer('first').fit(stream, progress=False)\n"
        "model = mspipe.Model.load(first)\n"
        "def ask(record):\n"
        "    score = float(model.score([1], [2])['score'][0])\n"
        "    within = trainer('within').fit(stream, progress=False)\n"
        "    print(score > 0, within.losses == first.losses)\n"
        "print(trainer('last').fit(stream, on_epoch=ask, progress=False).losses == first.losses)\n"
    )
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr


def test_many_runs_at_once_take_turns(columns, tmp_path):
    program = tmp_path / "many.py"
    program.write_text(
        "import mspipe, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "stream = mspipe.Dataset('synthetic:wikipedia:scale=0.005')\n"
        "def trained(run, deeper=lambda record: None):\n"
        "    settings = dict(width=8, epochs=1, batch_size=100, device='cpu', threads=1, out=f'{sys.argv[1]}/{run}')\n"
        "    return mspipe.Trainer(**settings).fit(stream, on_epoch=deeper, progress=False).losses\n"
        "def below(level):\n"
        "    return trained(f'level-{level}', (lambda record: below(level - 1)) if level else lambda record: None)\n"
        "with ThreadPoolExecutor(20) as pool:\n"
        "    all = [*pool.map(trained, range(20)), below(12)]\n"
        "print(len(all), all.count(all[0]))\n"
    )
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["21", "21"], (done.returncode, done.stderr)


def test_a_run_stays_where_it_began(columns, tmp_path, monkeypatch):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    rows = "".join(f"{event % 7},{100 + event % 5},{event}\n" for event in range(300))
    (tmp_path / "here" / "events.csv").write_text("src,dst,time\n" + rows)
    monkeypatch.chdir(tmp_path / "here")
    stream = mspipe.Dataset("events.csv")
    run = mspipe.Trainer(**SMALL, out="run").fit(stream, on_epoch=lambda _: os.chdir(tmp_path / "there"), progress=False)
    assert run.folder == tmp_path / "here" / "run" and not any((tmp_path / "there").iterdir())
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(mspipe.Error, match="on_epoch has taken the process to .*there, .* give the run out="):
        mspipe.Trainer(**SMALL).fit(stream, on_epoch=lambda _: os.chdir(tmp_path / "there"), progress=False)
    assert Path.cwd() == tmp_path / "here" and not any((tmp_path / "there").iterdir())
    monkeypatch.chdir(tmp_path / "there")
    assert mspipe.Model.load(run).events == 300
    assert mspipe.audit(stream, probes=1, width=8, device="cpu", progress=False)["data"]["events"] == 300
    with pytest.warns(UserWarning, match="columns that are left out: `note`"):
        mspipe.Trainer(**SMALL, out="other").fit({**columns, "note": ["a"] * len(columns["timestamp"])}, progress=False)
