"""Streams of events."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from . import _native
from ._columns import Column, of_arrays, refuse_no_utf8, what_is
from ._json import parsed
from ._settings import Reading
from ._written import place_of_stream, schema, value
from ._written import settings as written


class Dataset:
    """A stream of events: source, destination, time, and what else is known of each.

    `table` is one of

    * a file (csv, Parquet and others, packed or not), a folder, the name of a data set (`"wikipedia"`), or
      `"synthetic:wikipedia:scale=0.1"`: all that `mspipe train --data` takes;
    * anything with Arrow's C stream: a frame of polars or pandas, a table of pyarrow, a relation of DuckDB (a frame of
      pandas that gives none, as without pyarrow, or that holds objects, is read column by column; its index is the first
      column if it has a name);
    * a dict of NumPy arrays (or lists) by the names of their columns; an array `[events, width]` is so many features;
    * an object with `src`, `dst` and `t`, and maybe `msg` (features `[events, width]`) and `y` (labels): PyG's
      `TemporalData`.

    `src`, `dst`, `time`, `label` and `features` name columns where their names do not say it. Columns that have
    no role are features; with `features=[…]` no other column is one. `name` is what reports call a table in memory. The
    same events give the same `hash`, whatever they came as, and a file of them too.

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
        name: str | None = None,
        **reading: Unpack[Reading],
    ) -> None:
        roles = {"src": src, "dst": dst, "time": time, "label": label}
        known_reading("Dataset", "src, dst, time, label, features, name", reading, Reading.__annotations__.keys())
        if not isinstance(name, (str, type(None))):
            raise _native.Error(f"name: found {name!r}, expected text")
        if name is not None and isinstance(table, (str, os.PathLike)):
            raise _native.Error(f"name: found {name!r}, expected none: a file or a data set is called as it is")
        name = None if name is None else value("name", name)
        options = written({"columns": _columns(roles, features), **reading})
        #: As it was asked for; a table's conversion keeps less.
        self._reading = dict(options)
        self._native = _opened(table, name or "table", options, None)
        self._in_memory = not isinstance(table, (str, os.PathLike))

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
        """SHA-256 of all that a run reads: nodes, times, labels, features; not of what they are called."""
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

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Dataset can't be copied or pickled; it never changes, so use it as it is, and in another process make it "
            "of its table or file"
        )

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, events={self.events}, nodes={self.nodes}, hash={self.hash[:12]!r})"


def stream_of(data: Dataset | Any, given: dict[str, Any], shown: bool) -> tuple[Dataset, list[tuple[str, str]]]:
    """The stream of a run with these settings, and all of them as written; they read what is no `Dataset` yet, and where
    nothing is `shown` its notes are warnings."""
    refuse_columns(given)
    how = {name: of for name, of in given.items() if name in Reading.__annotations__ and of is not None}
    if not isinstance(data, Dataset):
        data = Dataset(data, **how)
        for note in [] if shown else data.notes:
            warnings.warn(note, stacklevel=3)
    refuse_gone(data)
    divided = data._reading.keys() & _SPLITS
    for name, asked in written(how):
        if asked == data._reading.get(name, value(name, schema()[name].get("default", ""))) or (name in _SPLITS and not divided):
            continue
        raise _native.Error(
            f"{name}: how a stream is read is said where it is opened: Dataset(…, {name}={how[name]!r}); leave it out here"
        )
    beside = {name: of for name, of in given.items() if name not in how or name in _SPLITS}
    return data, written({**data.settings, **beside})


def refuse_gone(data: Dataset) -> None:
    """Refuses a table in memory whose conversion somebody has removed since: a run opens that."""
    place = data.settings["data"]
    if data._in_memory and not os.path.exists(place):
        raise _native.Error(
            f"the conversion of the Dataset {data.name!r} is gone from the cache (there is no {place}); make the Dataset "
            "of its table again"
        )


def place_of(data: Dataset | str | os.PathLike[str] | None) -> str | None:
    """Where the stream of a run is that was moved."""
    if data is None:
        return None
    if isinstance(data, Dataset):
        refuse_gone(data)
        return data.settings["data"]
    return place_of_stream("data", data, "a Dataset, or where the stream is")


def refuse_columns(given: Mapping[str, Any]) -> None:
    """Refuses settings of a run that say what columns hold."""
    for name in ("columns", "src", "dst", "time", "label"):
        if given.get(name) is not None:
            raise _native.Error(
                f"{name}: columns are said where the stream is opened: Dataset(…, src=…, dst=…, time=…, label=…, features=[…])"
            )


#: What a run may say of a stream, where that says nothing itself.
_SPLITS = {"split", "split_at"}


def known_reading(of: str, others: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuses what is no keyword of `of`."""
    for unknown in given.keys() - set(known):
        raise _native.Error(f"unknown keyword '{unknown}' of {of}; known are {others}, " + ", ".join(sorted(known)))


def _columns(roles: dict[str, str | None], features: Sequence[str] | None) -> str | None:
    """As `--columns` has it."""
    parts = [f"{role}={_plain(role, column)}" for role, column in roles.items() if column is not None]
    if features is not None:
        if isinstance(features, str):
            features = [features]
        if not isinstance(features, Iterable):
            raise _native.Error(f"features: found {features!r}, expected names of columns")
        parts.append("features=" + "+".join(_plain("features", column) for column in features))
    return ",".join(parts) or None


def _plain(role: str, column: Any) -> str:
    if not isinstance(column, str):
        raise _native.Error(f"{role}: found {column!r}, expected the name of a column")
    if not column.strip():
        raise _native.Error(f"{role}: found {column!r}, expected the name of a column; give the column one first")
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
        return _native.Dataset.open(place_of_stream("table", table, "a path"), options, like)
    if isinstance(table, Dataset):
        more = "" if like is None else ", so that it is read as the model's stream"
        raise _native.Error("found a Dataset, which is read by itself; give what it was made of" + more)

    def of_columns(columns: Iterable[tuple[Any, Any]]) -> _native.Dataset:
        arrays: list[Column] = []
        try:
            arrays = of_arrays(columns, lambda column: _native.may_read(options, column))
            return _native.Dataset.of_columns(name, arrays, options, cache, like)
        except UnicodeEncodeError as error:
            refuse_no_utf8(arrays)
            raise _native.Error(f"found a column's name that UTF-8 does not have ({error})") from None

    if isinstance(table, Mapping):
        return of_columns(table.items())
    if hasattr(table, "collect") and type(table).__name__ == "LazyFrame":
        raise _native.Error("found a LazyFrame; collect() it first")
    if _is_pandas(table):
        table = _with_index(table)
        if _holds_objects(table):
            return of_columns(table.items())
    if hasattr(table, "__arrow_c_stream__"):
        try:
            return _native.Dataset.of_arrow(name, table, options, cache, like)
        except _native.Error:
            raise
        except Exception as error:
            # Of who makes the stream: pandas without pyarrow, columns that have no type of Arrow's.
            if not _is_pandas(table):
                raise _native.Error(
                    f"{type(table).__name__} gives no Arrow stream ({type(error).__name__}: {error}); mend that, or give "
                    "a dict of columns"
                ) from error
    if _is_pandas(table):
        return of_columns(table.items())
    if all(hasattr(table, part) for part in ("src", "dst", "t")):
        return of_columns(_of_temporal_data(table))
    raise _native.Error(
        f"found {type(table).__name__}, expected a file or a name, a dict of arrays, what has Arrow's C stream "
        "(polars, pandas, pyarrow, DuckDB), or PyG's TemporalData"
    )


def _is_pandas(table: Any) -> bool:
    is_frame = hasattr(table, "items") and hasattr(table, "columns")
    return is_frame and any(of.__module__.partition(".")[0] == "pandas" for of in type(table).__mro__)


def _with_index(frame: Any) -> Any:
    """A frame whose index is a column where it has a name, and no longer there. pyarrow would leave one out that only
    counts, and add one that is a column already."""
    if list(frame.index.names) == [None] and type(frame.index).__name__ == "RangeIndex":
        # Most are as they are made; others may be copied.
        return frame
    named = []
    for level, name in enumerate(frame.index.names):
        if what_is(name) == "missing":
            continue
        twice = list(frame.columns).count(name)
        if twice == 0:
            named.append(level)
        elif twice > 1 or not frame.index.get_level_values(level).equals(frame.set_index(name).index):
            raise _native.Error(f"'{name}' is a column and, with other values, the index; rename one of them")
    try:
        return (frame.reset_index(level=named) if named else frame).reset_index(drop=True)
    except ValueError as error:
        raise _native.Error(f"the index can't be columns: {error}") from None


def _holds_objects(frame: Any) -> bool:
    """Whether a column holds objects that lose something on the way to Arrow: it cuts a moment among dates, and
    nanoseconds."""
    kind_of = importlib.import_module("pandas.api.types").infer_dtype
    return any(column.dtype == object and kind_of(column) not in _KEPT_BY_ARROW for _, column in frame.items())


#: Kinds of objects, as pandas names them, that are the same as a column of Arrow's.
_KEPT_BY_ARROW = {"string", "empty", "boolean", "integer"}


def _of_temporal_data(data: Any) -> Iterable[tuple[str, Any]]:
    columns = {"src": data.src, "dst": data.dst, "time": data.t}
    for name, column in (("label", getattr(data, "y", None)), ("msg", getattr(data, "msg", None))):
        # TemporalData without features has msg [events, 0].
        if column is not None and tuple(getattr(column, "shape", ()))[1:] != (0,):
            columns[name] = column
    return columns.items()
