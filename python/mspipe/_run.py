"""What a run has written."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import _native
from ._json import parsed
from ._progress import Progress


class Run:
    """A run by its folder, this process's or another's: `Run("runs/wikipedia-tgn-1")`.

    Raises `mspipe.Error` where no run is.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        if not (self._folder / "config.json").is_file():
            raise _native.Error(f"{self._folder}: holds no run (there is no {self._folder / 'config.json'})")

    @property
    def folder(self) -> Path:
        """Where it is; `mspipe report`, `eval` and `score` take it too."""
        return self._folder

    def __fspath__(self) -> str:
        return str(self._folder)

    @property
    def seeds(self) -> list[Run]:
        """Of a run over several seeds, those that have begun, by seed; of another one none.

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
        return parsed((self._folder / "config.json").read_text())

    @property
    def summary(self) -> dict[str, Any]:
        """What it gave, as `summary.json` has it: `test`, `edgebank`, `counts`, `stage_seconds`, ….

        Raises `mspipe.Error` when the run has not ended.
        """
        try:
            return parsed((self._folder / "summary.json").read_text())
        except FileNotFoundError:
            raise _native.Error(
                f"{self._folder}: the run has not ended; continue it with mspipe.resume({str(self._folder)!r})"
            ) from None

    @property
    def history(self) -> list[dict[str, Any]]:
        """A record per epoch: `epoch` (from 1), `train_loss`, `val` with `ap` and `auc`, `events_per_s`, ….

        A run over several seeds has none of its own (`seeds`).
        """
        return [line for line in self._lines() if "train_loss" in line]

    @property
    def losses(self) -> list[float]:
        """The training loss of each iteration, over all epochs."""
        return [line["loss"] for line in self._lines() if "loss" in line]

    def _lines(self) -> list[dict[str, Any]]:
        path = self._folder / "metrics.jsonl"
        return [parsed(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def report(self) -> Path:
        """Writes `report.html`, all of the run as one page with charts, and returns where it is.

        Raises `mspipe.Error` for a run whose files can't be read, and for a page that can't be written.
        """
        return Path(_native.report(str(self._folder)))

    def _figures(self) -> list[tuple[str, str]]:
        """What is shown of it in a line."""
        seeds = self._seeds()
        figures = [("seeds", ", ".join(map(str, seeds))) if seeds else ("epochs", str(len(self.history)))]
        try:
            summary = self.summary
        except _native.Error:
            return [*figures, ("state", "not ended")]
        for name in ("ap", "auc"):
            if measured := summary.get("measures", {}).get(f"test.{name}"):
                figures.append((f"test {name}", f"{measured['mean']:.4f} ± {measured['deviation']:.4f}"))
        test = summary.get("test", {})
        for name in ("ap", "auc"):
            if test.get(name) is not None:
                figures.append((f"test {name}", f"{test[name]:.4f}"))
        if "edgebank" in summary:
            figures.append(("EdgeBank ap", f"{summary['edgebank']['test_ap']:.4f}"))
        if summary.get("data", {}).get("synthetic"):
            figures.append(("data", "SYNTHETIC"))
        return figures

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value}" for name, value in self._figures())
        return f"Run({str(self._folder)!r}: {figures})"

    def _repr_html_(self) -> str:
        rows = [("run", str(self._folder)), *self._figures()]
        cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
        epochs = "".join(
            f"<tr><td>{line['epoch']}</td><td>{line['train_loss']:.4f}</td><td>{line['val'].get('ap', float('nan')):.4f}</td>"
            f"<td>{line['val'].get('auc', float('nan')):.4f}</td></tr>"
            for line in self.history
        )
        if not epochs:
            return f"<table>{cells}</table>"
        head = "<tr><th>epoch</th><th>loss</th><th>val AP</th><th>val AUC</th></tr>"
        return f"<table>{cells}</table><table>{head}{epochs}</table>"


def resume(
    folder: str | os.PathLike[str] | Run,
    *,
    on_epoch: Callable[[dict[str, Any]], object] | None = None,
    progress: bool = True,
) -> Run:
    """Continues with a run that has not ended, from its last checkpoint, as `mspipe train --resume`.

    The numbers are those of a run that was never interrupted. `on_epoch` and `progress` as for
    `mspipe.Trainer.fit`. Raises `mspipe.Error` for what can't be resumed.
    """
    told = Progress(progress, on_epoch)
    try:
        return Run(_native.resume(os.fspath(folder), told))
    finally:
        told.close()
