"""What a run has written."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import _native
from ._dataset import Dataset, place_of
from ._json import parsed
from ._progress import Progress
from ._written import path_of


class Run:
    """A run by its folder, this process's or another's: `Run("runs/wikipedia-tgn-1")`.

    Raises `mspipe.Error` where no run is.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        # Wherever the process goes later.
        self._folder = Path(path_of("folder", folder, "the folder of a run")).absolute()
        self._check()

    def _check(self) -> None:
        """Refuses a folder that holds no run, or none any more."""
        if not self._is_there():
            raise _native.Error(f"{self._folder}: holds no run (there is no {self._folder / 'config.json'})")

    def _is_there(self) -> bool:
        return (self._folder / "config.json").is_file()

    @property
    def folder(self) -> Path:
        """Where it is, from the root on; `mspipe report`, `eval` and `score` take it too."""
        return self._folder

    def __fspath__(self) -> str:
        return str(self._folder)

    @property
    def seeds(self) -> list[Run]:
        """Of a run over several seeds, those that have begun, a list in the order of the seeds; of another one none.

        Their histories and weights are theirs; `summary["measures"]` has each measure over all of them.
        """
        folders = [self._folder / f"seed-{seed}" for seed in self._seeds()]
        return [Run(folder) for folder in folders if (folder / "config.json").is_file()]

    def _seeds(self) -> range:
        config = self.config
        first = config.get("seed", 0)
        return range(first, first + (config.get("seeds") or 0))

    @property
    def config(self) -> dict[str, Any]:
        """Its settings, as `config.json` has them."""
        self._check()
        return parsed((self._folder / "config.json").read_text())

    @property
    def summary(self) -> dict[str, Any]:
        """What it gave, as `summary.json` has it: `test`, `edgebank`, `counts`, `stage_seconds`, ….

        That of a run over several seeds has `seeds` and `measures` instead. Raises `mspipe.Error` when the run has not
        ended.
        """
        try:
            return parsed((self._folder / "summary.json").read_text())
        except FileNotFoundError:
            self._check()
            raise _native.Error(f"{self._folder}: {self._unfinished()}") from None

    def _unfinished(self) -> str:
        return f"the run has not ended; continue it with mspipe.resume({str(self._folder)!r})"

    @property
    def history(self) -> list[dict[str, Any]]:
        """A record per epoch: `epoch` (from 1), `train_loss`, `val` with `ap` and `auc`, `events_per_s`, ….

        A run over several seeds has none of its own (`seeds`).
        """
        return [line for line in self._lines() if "train_loss" in line]

    @property
    def losses(self) -> list[float]:
        """The training loss of each iteration, over all epochs; a run over several seeds has none of its own."""
        return [line["loss"] for line in self._lines() if "loss" in line]

    def _lines(self) -> list[dict[str, Any]]:
        self._check()
        lines = self._folder / "metrics.jsonl"
        return [parsed(line) for line in lines.read_text().splitlines()] if lines.is_file() else []

    def report(self) -> Path:
        """Writes `report.html`, all of the run as one page with charts, and returns where it is.

        Raises `mspipe.Error` for a run that has not ended or whose files can't be read, and for a page that can't be
        written.
        """
        self._check()
        if not (self._folder / "summary.json").is_file():
            draws = f"as far as it is, the command draws it: mspipe report {self._folder} --to FILE"
            raise _native.Error(f"{self._folder}: {self._unfinished()}; {draws}")
        return Path(_native.report(str(self._folder)))

    def _figures(self) -> list[tuple[str, str]]:
        """What is shown of it in a line."""
        if not self._is_there():
            return [("state", "gone")]
        seeds = self._seeds()
        figures = [("seeds", ", ".join(map(str, seeds))) if seeds else ("epochs", str(len(self.history)))]
        try:
            summary = self.summary
        except _native.Error:
            return [*figures, ("state", "not ended")]
        for name in ("ap", "auc"):
            if measured := summary.get("measures", {}).get(f"test.{name}"):
                # One seed deviates from nothing.
                spread = "" if measured["deviation"] is None else f" ± {measured['deviation']:.4f}"
                figures.append((f"test {name}", f"{measured['mean']:.4f}{spread}"))
        test = summary.get("test", {})
        for name in ("ap", "auc"):
            if test.get(name) is not None:
                figures.append((f"test {name}", f"{test[name]:.4f}"))
        if "edgebank" in summary:
            figures.append(("EdgeBank ap", _measured(summary["edgebank"], "test_ap")))
        if summary.get("data", {}).get("synthetic"):
            figures.append(("data", "SYNTHETIC"))
        return figures

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value}" for name, value in self._figures())
        return f"Run({str(self._folder)!r}: {figures})"

    def _repr_html_(self) -> str:
        rows = [("run", str(self._folder)), *self._figures()]
        cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
        history = self.history if self._is_there() else []
        epochs = "".join(
            f"<tr><td>{line['epoch']}</td><td>{line['train_loss']:.4f}</td><td>{_measured(line['val'], 'ap')}</td>"
            f"<td>{_measured(line['val'], 'auc')}</td></tr>"
            for line in history
        )
        if not epochs:
            return f"<table>{cells}</table>"
        head = "<tr><th>epoch</th><th>loss</th><th>val AP</th><th>val AUC</th></tr>"
        return f"<table>{cells}</table><table>{head}{epochs}</table>"


def _measured(of: dict[str, Any], name: str) -> str:
    return "–" if of.get(name) is None else f"{of[name]:.4f}"


def resume(
    folder: str | os.PathLike[str] | Run,
    *,
    data: Dataset | str | os.PathLike[str] | None = None,
    on_epoch: Callable[[dict[str, Any]], object] | None = None,
    progress: bool = True,
) -> Run:
    """Continues with a run that has not ended, from its last checkpoint, as `mspipe train --resume`.

    The numbers are those of a run that was never interrupted. `data` is where the stream is, if it was moved, or the same
    events as a `Dataset`; ids and features are called as in it from then on. `on_epoch` and `progress` as for
    `mspipe.Trainer.fit`. Raises `mspipe.Error` for what can't be resumed.
    """
    place = path_of("folder", folder, "a run, or its folder")
    stream = place_of(data)
    told = Progress(progress, on_epoch)
    try:
        return Run(_native.resume(os.path.abspath(place), stream, told))
    finally:
        told.close()
