"""Streams of events."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from . import _native
from ._json import parsed
from ._settings import Reading
from ._written import settings as written


class Dataset:
    """A stream of events: source, destination, time, and what else is known of each.

    `table` is one of

    * a file (csv, Parquet and others, packed or not), a folder, the name of a data set (`"wikipedia"`), or
      `"synthetic:wikipedia:scale=0.1"`: all that `mspipe train --data` takes;
    * anything with Arrow's C stream: a frame of polars or pandas (which needs pyarrow), a table of pyarrow, a
      relation of DuckDB;
    * a dict of NumPy arrays (or lists) by the names of their columns; an array `[events, width]` is so many features;
    * an object with `src`, `dst` and `t`, and maybe `msg` (features `[events, width]`) and `y` (labels): PyG's
      `TemporalData`.

    `src`, `dst`, `time`, `label` and `features` name columns where their names do not say it. Columns that have
    no role are features; with `features=[…]` no other column is one. The same events give the same
    `hash`, whatever they came as, and a file of them too.

    A table in memory is converted into the cache once (`mspipe data cache` lists it), so that runs and models find it later.

    Keywords beside are those settings of `mspipe train` that say how a stream is read: `sort`, `ids`, `bipartite`,
    `time_unit`, `missing`, `split`, `split_at`, `edge_feature_file`, `node_feature_file`, and for files `format` and
    `no_header`.

    Raises `mspipe.Error` for what can't be read, with the place.
    """

    def __init__(
        self,
        table: Any,
        *,
        src: str | None = None,
        dst: str | None = None,
        time: str | None = None,
        label: str | None = None,
        features: Sequence[str] | None = None,
        name: str = "table",
        **reading: Unpack[Reading],
    ) -> None:
        roles = {"src": src, "dst": dst, "time": time, "label": label}
        known = Reading.__annotations__
        for unknown in reading.keys() - known.keys():
            raise _native.Error(
                f"unknown keyword '{unknown}' of Dataset; known are src, dst, time, label, features, name, " + ", ".join(sorted(known))
            )
        options = written({"columns": _columns(roles, features), **reading})
        self._native = _opened(table, name, options, None)

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._native.name

    @property
    def events(self) -> int:
        """How many events it has."""
        return self._native.events

    @property
    def nodes(self) -> int:
        """How many nodes they are between."""
        return self._native.nodes

    @property
    def hash(self) -> str:
        """SHA-256 of all that a run reads: nodes, times, labels, features."""
        return self._native.hash

    @property
    def notes(self) -> list[str]:
        """What one should know of how it was read: columns that were left out, values that were filled in."""
        return self._native.notes

    @property
    def settings(self) -> dict[str, str]:
        """With which `mspipe train` opens the same stream."""
        return dict(self._native.settings)

    def info(self) -> dict[str, Any]:
        """Its figures, as `mspipe data info --json` has them: parts, features, time span, repeated pairs."""
        return parsed(self._native.info())

    def __len__(self) -> int:
        return self.events

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, events={self.events}, nodes={self.nodes}, hash={self.hash[:12]!r})"


def _columns(roles: dict[str, str | None], features: Sequence[str] | None) -> str | None:
    """As `--columns` has it."""
    parts = [f"{role}={_plain(column)}" for role, column in roles.items() if column is not None]
    if features is not None:
        if isinstance(features, str):
            features = [features]
        parts.append("features=" + "+".join(_plain(column) for column in features))
    return ",".join(parts) or None


def _plain(column: str) -> str:
    if any(mark in column for mark in "+,="):
        raise _native.Error(f"the column '{column}' is named with one of + , =; rename it")
    return column


def _opened(
    table: Any, name: str, options: list[tuple[str, str]], cache: str | None, like: _native.Like | None = None
) -> _native.Dataset:
    """A table as the extension has it; conversions go into the folder `cache`, if one is given.

    `like` says how the stream was read that it is a part of.
    """
    if isinstance(table, (str, os.PathLike)):
        return _native.Dataset.open(os.fsdecode(table), options, like)
    if isinstance(table, Mapping):
        return _native.Dataset.of_columns(name, _of_arrays(table), options, cache, like)
    if hasattr(table, "__arrow_c_stream__"):
        return _native.Dataset.of_arrow(name, table, options, cache, like)
    if all(hasattr(table, part) for part in ("src", "dst", "t")):
        return _native.Dataset.of_columns(name, _of_temporal_data(table), options, cache, like)
    raise _native.Error(
        f"found {type(table).__name__}, expected a file or a name, a dict of arrays, what has Arrow's C stream "
        "(polars, pandas, pyarrow, DuckDB), or PyG's TemporalData"
    )


def _of_temporal_data(data: Any) -> list[tuple[str, str, Any, int]]:
    columns = {"src": data.src, "dst": data.dst, "time": data.t}
    for name, column in (("label", getattr(data, "y", None)), ("msg", getattr(data, "msg", None))):
        if column is not None:
            columns[name] = column
    return _of_arrays(columns)


def _of_arrays(columns: Mapping[str, Any]) -> list[tuple[str, str, Any, int]]:
    """Each column by name, kind, values, and numbers of a row."""
    import numpy as np

    found = []
    for name, column in columns.items():
        if hasattr(column, "detach"):
            # PyTorch's, which may be elsewhere or want gradients.
            column = column.detach().cpu()
        if isinstance(column, np.ma.MaskedArray):
            column = np.ma.filled(column.astype(float), np.nan)
        array = np.asarray(column)
        if array.ndim == 2 and array.dtype.kind in "biuf":
            if array.shape[1] == 0:
                # TemporalData without features has msg [events, 0].
                continue
            rows = np.ascontiguousarray(array, dtype=np.float32).reshape(-1)
            found.append((str(name), "rows", rows, array.shape[1]))
            continue
        if array.ndim != 1:
            shape = list(array.shape)
            raise _native.Error(f"the column '{name}' has the shape {shape}, expected [events] or [events, width]")
        found.append((str(name), *_of_array(str(name), array), 1))
    return found


def _of_array(name: str, array: Any) -> tuple[str, Any]:
    """Kind and values of an array `[events]`."""
    import numpy as np

    def of(dtype: Any) -> Any:
        return np.ascontiguousarray(array, dtype=dtype)

    match array.dtype.kind:
        case "b":
            return "bool", of(np.uint8)
        case "i":
            return "int", of(np.int64)
        case "u":
            return "uint", of(np.uint64)
        case "f" if array.dtype.itemsize <= 4:
            return "float", of(np.float32)
        case "f":
            return "double", of(np.float64)
        case "M":
            unit = np.datetime_data(array.dtype)[0]
            unit = unit if unit in ("us", "ns") else "ms"
            return unit, of(f"datetime64[{unit}]").view(np.int64)
        case "U" | "S" | "T" | "O":
            return "text", [_text(name, value) for value in array.tolist()]
    raise _native.Error(
        f"the column '{name}' is of type {array.dtype}; expected numbers, truth values, text or datetime64"
    )


def _text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if value != value:
        return None
    if isinstance(value, int):
        return str(value)
    raise _native.Error(f"the column '{name}' has a {type(value).__name__} among its objects; expected text")
