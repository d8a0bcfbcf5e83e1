"""What is computed and found without training."""

from __future__ import annotations

import decimal
import os
from collections.abc import Mapping
from typing import Any, Unpack

from . import _native
from ._dataset import Dataset, stream_of
from ._json import parsed
from ._progress import Progress
from ._run import Run
from ._settings import Settings
from ._written import settings as written


def audit(
    data: Dataset | Run | Any,
    *,
    probes: int = 5,
    progress: bool = True,
    **settings: Unpack[Settings],
) -> dict[str, Any]:
    """Changes the stream where a score must not see it, and compares bits, as `mspipe audit`.

    `data` is a `Dataset`, or what it takes, or a run (or its folder), whose weights and settings are taken. `probes` events are changed
    around. Returns `passed` and `checks` beside the setting, as `mspipe audit --json`.

    Raises `mspipe.Error` for a stream or settings that can't be used, and for `probes` that are not from 1 to 10,000.
    """
    if isinstance(probes, bool) or not hasattr(probes, "__index__") or not 1 <= probes <= 10_000:
        raise _native.Error(f"probes: found {probes!r}, expected a whole number from 1 to 10000")
    given: dict[str, Any] = dict(settings)
    if isinstance(data, (str, os.PathLike)) and os.path.isfile(os.path.join(data, "config.json")):
        asked = written({"init": os.fspath(data), **given})
    else:
        _, asked = stream_of(data, given, progress)
    told = Progress(progress)
    try:
        return parsed(_native.audit(asked, int(probes), told))
    finally:
        told.close()


def devices() -> dict[str, Any]:
    """The adapters of this machine, and which one `device="auto"` takes (`auto`), as `mspipe devices --json`."""
    return parsed(_native.answer(["devices", "--json"]))


def _without_exponent(time: Any) -> str:
    """A number without an exponent; what is none is told by who reads it."""
    try:
        return f"{decimal.Decimal(str(time)):f}"
    except decimal.InvalidOperation:
        return str(time)


def simulate(stages: str | Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """What each schedule gives on given stage times, as `mspipe schedule simulate --json`: times are in seconds.

    `stages` are milliseconds by stage (`sample`, `fetch_features`, `fetch_memory`, `train`, `update_memory`),
    as a dict or as the command line has them; `options` are the command's (`memory="host"`, `link="12GB/s,20us"`, `ranks=8`,
    `profile=RUN`).

    Raises `mspipe.Error` for a stage or an option that there is not, and for a value that it does not take.
    """
    for name in options.keys() & {"gantt", "trace", "json", "force"}:
        raise _native.Error(f"{name}: nothing is drawn or written here; mspipe schedule simulate does it")
    if isinstance(stages, Mapping):
        stages = ",".join(f"{stage}={_without_exponent(time)}" for stage, time in stages.items())
    if stages is None and options.get("profile") is None:
        raise _native.Error("simulate: found neither stages= nor profile=; expected the times of stages, or a profiled run")
    given = {"stages": stages, **options}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in written(given)]
    return parsed(_native.answer(["schedule", "simulate", *words, "--json"]))
