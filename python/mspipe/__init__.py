"""Trains memory-based temporal graph neural networks, and answers questions to what was trained.

| name       | what it is                                                                |
|------------|---------------------------------------------------------------------------|
| `Dataset`  | a stream of events: a file, a data frame, arrays, PyG's `TemporalData`    |
| `Trainer`  | settings of a run, the options of `mspipe train`; `fit` gives a `Run`     |
| `Run`      | what a run has written: history, summary, report                          |
| `Model`    | what a run has learnt: scores, rankings, embeddings, new events           |
| `Table`    | answers: columns as NumPy arrays, and to Arrow                            |
| `Settings` | all keywords of `Trainer`, with what they say                             |
| `resume`   | continues with a run that has not ended                                   |
| `audit`    | looks for scores that depend on what they must not see                    |
| `devices`  | the adapters of this machine                                              |
| `simulate` | what each schedule gives on given stage times                             |
| `Error`    | the message of the command, with keywords for its options                 |

Python's lock is not held while it works. Ctrl-C ends a run after the iteration that it is in, and leaves a
checkpoint; the same settings give the same bits as the command `mspipe`.
"""

from __future__ import annotations

import os as _os
import sys as _sys

if _sys.platform == "linux" and "XDG_RUNTIME_DIR" not in _os.environ:
    # Without a desktop session, Mesa's device-select layer prints an error for each instance that is opened.
    # It only reorders adapters for desktops.
    _os.environ.setdefault("NODEVICE_SELECT", "1")

from ._checks import audit, devices, simulate
from ._dataset import Dataset
from ._model import Model, Table
from ._native import Error, __version__
from ._run import Run, resume
from ._settings import Settings
from ._trainer import Trainer

__all__ = [
    "Dataset",
    "Error",
    "Model",
    "Run",
    "Settings",
    "Table",
    "Trainer",
    "__version__",
    "audit",
    "devices",
    "resume",
    "simulate",
]
