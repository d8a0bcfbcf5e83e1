"""Training."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Unpack

from . import _native
from ._dataset import Dataset, refuse_columns, stream_of
from ._progress import Progress
from ._run import Run
from ._settings import Settings
from ._written import settings as written


class Trainer:
    """Settings of a run: `Trainer(model="tgn", epochs=3, device="cpu")`.

    Keywords are the options of `mspipe train`, with `_` for `-`; `mspipe.Settings` lists all with what they say.
    Values are as on the command line: numbers, text, `True` for a switch, `on` or `yes`; a list is joined with commas.
    What is not given, or `None`, is as by default. `data` is the dataset's.

    Raises `mspipe.Error` for an unknown name, with the nearest one, and for a value that its option does not take.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        self._settings: dict[str, Any] = dict(settings)
        if "data" in self._settings:
            raise _native.Error("data: the stream is what fit() is given; leave it out")
        if "resume" in self._settings:
            raise _native.Error("resume: mspipe.resume(RUN) goes on with a run that has not ended; leave it out here")
        refuse_columns(self._settings)
        _native.check(written(self._settings))

    @property
    def settings(self) -> dict[str, Any]:
        """Those that were given."""
        return dict(self._settings)

    def fit(
        self,
        data: Dataset | Any,
        *,
        on_epoch: Callable[[dict[str, Any]], object] | None = None,
        progress: bool = True,
    ) -> Run:
        """Trains on `data` (a `Dataset`, or what it takes) and returns the run.

        What is no `Dataset` yet is read as the settings say (`missing="mean"`); a `Dataset` has said so itself.

        `on_epoch` is called after each epoch with its record (as in `Run.history`) and the run's `seed`, on this
        thread. An exception of it, or Ctrl-C, ends the run after the iteration that it is in, leaves a checkpoint, and
        is raised with a note of how to continue (`mspipe.resume`). `progress` shows a bar and a line per epoch on stderr.

        Warns if the stream has changed since the `Dataset` was made. Raises `mspipe.Error` for settings that can't be
        used, a device that fails, a run that would not fit into memory.

        The run's folder stays where it is when the process goes elsewhere meanwhile; without `out` one that `on_epoch`
        takes elsewhere ends. As many runs train at once as there are threads, and others wait; one that `on_epoch`
        begins does not.
        """
        dataset, settings = stream_of(data, self._placed(), progress)
        told = Progress(progress, on_epoch, dataset.hash)
        try:
            return Run(_native.fit(settings, told))
        finally:
            told.close()

    def _placed(self) -> dict[str, Any]:
        """The settings with the run's folder from the root on: the process may go elsewhere while it trains."""
        out = self._settings.get("out")
        return self._settings if out is None else {**self._settings, "out": os.path.abspath(out)}

    def __repr__(self) -> str:
        return "Trainer(" + ", ".join(f"{name}={value!r}" for name, value in self._settings.items()) + ")"
