"""Questions to a trained model."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from . import _native
from ._columns import ids, times
from ._dataset import Dataset, _columns, _opened, known_reading, place_of
from ._json import parsed
from ._progress import Progress
from ._run import Run
from ._settings import Reading, Settings
from ._written import path_of
from ._written import settings as written
from ._written import switch, value

if TYPE_CHECKING:
    import numpy as np


class Table(dict[str, "np.ndarray[Any, Any]"]):
    """Columns by name, NumPy arrays of one length: a dict, of which polars and pandas make a frame.

    It has Arrow's C stream too, where pyarrow is installed, so that DuckDB takes it as it is.
    """

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(next(iter(self.values()), ()))

    def to_arrow(self) -> Any:
        """As a `pyarrow.Table`. Raises `ImportError` without pyarrow."""
        import pyarrow

        return pyarrow.table({name: pyarrow.array(column) for name, column in self.items()})

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        names = ", ".join(self)
        return f"Table({self.rows} rows: {names})"

    def _repr_html_(self) -> str:
        import html

        def cell(value: Any) -> str:
            return f"{value:.4f}" if isinstance(value, float) else html.escape(str(value))

        shown = range(min(self.rows, 20))
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self)
        columns = [column[: len(shown)].tolist() for column in self.values()]
        body = "".join("<tr>" + "".join(f"<td>{cell(column[row])}</td>" for column in columns) + "</tr>" for row in shown)
        more = f"<p>{self.rows} rows</p>" if self.rows > len(shown) else ""
        return f"<table><tr>{head}</tr>{body}</table>{more}"


class Model:
    """A trained model, with the memory that the events so far left: `Model.load`.

    Ids are those of the stream that it was trained on, numbers or text; answers come in the order of the questions. Asking
    changes nothing, and no answer depends on what else is asked. Times are in the stream's unit (numbers), moments
    (`datetime64`) or text (`"2024-05-01"`), one for all or one each; without one it is just after the last event. A time
    before the last event that memory has followed is refused, one that is further after it than the stream is long is warned
    of.
    """

    def __init__(self, native: _native.Model, path: Path, stream: str | None = None) -> None:
        self._native = native
        self._path = path
        #: Where its stream is, if it was moved.
        self._stream = stream

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | Run,
        *,
        data: Dataset | str | os.PathLike[str] | None = None,
        device: str | None = None,
        threads: int | None = None,
        replay: bool = False,
    ) -> Model:
        """Of a run (or its folder), after the last event of its stream, or of a state in a file (`save`).

        `data` is where the stream is, if it was moved, or the same events as a `Dataset`. `device` is that of the run unless
        given. `replay` builds the memory from the stream though the run has left its state, and then ids and features are
        called as `data` calls them.

        Raises `mspipe.Error` where neither a run's weights nor a state is, where the stream is gone or another one, or has
        other names and is not replayed, and for a device that can't be used.
        """
        place = path_of("path", path, "a Run, its folder, or the file of a state")
        if threads is not None and not (isinstance(threads, int) and 1 <= threads < 2**16):
            raise _native.Error(f"threads: found {threads!r}, expected a whole number from 1 on")
        stream = place_of(data)
        device = None if device is None else value("device", device)
        try:
            native = _native.Model.load(place, stream, device, threads, switch("replay", replay))
        except _native.Error:
            if stream is None:
                _refuse_gone_stream(place)
            raise
        # Wherever the process goes later.
        return cls(native, Path(place).absolute(), stream)

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        return self._native.width

    @property
    def events(self) -> int:
        """Events that it knows."""
        return self._native.events

    @property
    def last_time(self) -> str | None:
        """The last event's time in the stream's unit, in which questions are asked too: seconds, if the stream was read with
        a `time_unit` or its times are moments. As text, since a float would round it."""
        return self._native.last

    def nodes(self) -> Table:
        """All nodes: `node`, and `side` (`source`, `destination`) where they are of two kinds."""
        import numpy as np

        keys, destinations = self._native.nodes()
        columns = {"node": _given_back(keys)}
        if destinations is not None:
            columns["side"] = np.where(destinations, "destination", "source")
        return Table(columns)

    def score(self, src: Any, dst: Any, time: Any = None) -> Table:
        """What the model says of pairs: `logit`, `score` (its sigmoid, float32 `[pairs]`), `known_src`, `known_dst`.

        `score` tells how surely the model tells the pair from one with a random destination. It is no probability that the
        two interact. A node that has had no event is scored as any other unknown one.

        Raises `mspipe.Error` for what is no id of the stream's kind, for sources and destinations that are not equally many,
        and for a time that is none or lies before the last event.
        """
        import numpy as np

        sources, destinations = self._ids("src", src), self._ids("dst", dst)
        logit, score, pairs = self._native.score(sources, destinations, times(time))
        known = np.frombuffer(pairs, dtype=np.bool_).reshape(-1, 2)
        return Table(
            {
                "logit": np.frombuffer(logit, dtype=np.float32),
                "score": np.frombuffer(score, dtype=np.float32),
                "known_src": known[:, 0].copy(),
                "known_dst": known[:, 1].copy(),
            }
        )

    def top_k(self, sources: Any, k: int = 20, time: Any = None, *, exclude_seen: bool = False) -> Table:
        """The `k` destinations with the highest scores for each source, the best first: `src`, `dst`, `logit`, `score`.

        All destinations so far are scored; of equal ones those that were seen first come first. `exclude_seen` leaves
        out those that the source has had an event with.

        Raises `mspipe.Error` as `score` does, and for a `k` below 1.
        """
        import numpy as np

        if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or not 1 <= k < 2**63:
            raise _native.Error(f"k: found {k!r}, expected a whole number from 1 on")
        asked = self._ids("sources", sources)
        counts, best, logit, score = self._native.top_k(asked, int(k), times(time), switch("exclude_seen", exclude_seen))
        src = np.asarray(asked[1], dtype=object if asked[0] else np.uint64)
        return Table(
            {
                "src": np.repeat(src, counts),
                "dst": _given_back(best),
                "logit": np.frombuffer(logit, dtype=np.float32),
                "score": np.frombuffer(score, dtype=np.float32),
            }
        )

    def embed(self, nodes: Any, time: Any = None, *, side: Literal["source", "destination"] = "source") -> np.ndarray[Any, Any]:
        """Embeddings at one time, float32 `[nodes, width]`.

        `side` says which nodes are meant where sources and destinations are of two kinds.

        Raises `mspipe.Error` as `score` does, and for another `side`.
        """
        import numpy as np

        rows = self._native.embed(self._ids("nodes", nodes), value("side", side), times(time))
        return np.frombuffer(rows, dtype=np.float32).reshape(-1, self.width)

    def update(
        self,
        table: Any,
        *,
        src: str | None = None,
        dst: str | None = None,
        time: str | None = None,
        label: str | None = None,
        features: Sequence[str] | None = None,
        late: Literal["refuse", "accept"] = "refuse",
        max_jump: float | str = "stream",
        **reading: Unpack[Reading],
    ) -> dict[str, int]:
        """Has memory follow new events, which come after all so far; trains nothing.

        `table` and the keywords are as for `mspipe.Dataset`, of which `sort`, `format`, `no_header`, `time_unit`,
        `missing` and `edge_feature_file` are taken; ids are those of the model's stream, and so are units and columns
        unless given. Features are taken by their names, in any order; where one of the two has no names, in their order,
        with a warning. `late="accept"` takes events before the last one as of its time; else they are left out, counted,
        and warned of. A table with an event that is further ahead of the one before it than `max_jump` is refused: a
        number in the stream's unit, `"stream"` (as long as the stream), `"off"`. Returns `events`, `late_accepted`,
        `late_refused`, `new_nodes`.

        Memory follows a table in batches of the run's size, as in training: how events are cut into tables matters as
        the size of batches does. Warns of what was filled in or left out; a mean (`missing="mean"`) is of this table alone.

        Raises `mspipe.Error` for what can't be read, for features that are not the model's, and for a table that is too far
        ahead; then memory is as before.
        """
        keywords = "src, dst, time, label, features, late, max_jump"
        known_reading("update", keywords, reading, Reading.__annotations__.keys() - _OF_THE_MODEL)
        if late not in ("refuse", "accept"):
            raise _native.Error(f"late: found {late!r}, expected 'refuse' or 'accept'")
        columns = _columns({"src": src, "dst": dst, "time": time, "label": label}, features)
        options = written({**dict(self._native.reading()), "columns": columns, **reading})
        # The conversion is of no later use.
        with tempfile.TemporaryDirectory() as cache:
            events = _opened(table, "events", options, cache, self._native.like())
            for note in [*events.notes, *filter(None, [self._native.note(events)])]:
                warnings.warn(note, stacklevel=2)
            followed = self._native.update(events, late == "accept", value("max_jump", max_jump))
            del events
        done = dict(zip(("events", "late_accepted", "late_refused", "new_nodes"), followed, strict=True))
        if left_out := done["late_refused"]:
            was = "event was" if left_out == 1 else "events were"
            late_ones = f"{left_out} late {was} left out: before the last one that memory has followed"
            warnings.warn(f'{late_ones}; late="accept" takes such events as of its time', stacklevel=2)
        return done

    def save(self, path: str | os.PathLike[str], *, self_contained: bool = True, force: bool = False) -> Path:
        """Writes the state, with all that is needed of the stream unless `self_contained=False`, and returns where.

        Raises `mspipe.Error` for a file that is there, unless `force`, and for one that can't be written.
        """
        place = path_of("path", path, "the path of a file to write")
        self._native.save(place, switch("self_contained", self_contained), switch("force", force))
        return Path(place)

    def eval(self, *, test_only: bool = False, progress: bool = True, **settings: Unpack[Settings]) -> dict[str, Any]:
        """Measures the run's weights again, as `mspipe eval`: builds the memory of the training part, then validates and tests.

        `settings` change those of the run (`hide_batch=False`, `protocol="tgb"`). Needs the run's folder, and its
        stream: that of `load` unless `data=` gives another one to measure on. Returns what `mspipe eval --json` prints.

        Raises `mspipe.Error` for a model that was loaded from a state, and for settings that the weights do not fit.
        """
        if self._path.is_file():
            raise _native.Error(
                f"{self._path}: a state holds what answers need, not what eval measures with; load the run's folder: "
                "Model.load(RUN).eval()"
            )
        told = Progress(progress)
        asked: dict[str, Any] = dict(settings)
        stream = place_of(asked.pop("data", None)) or self._stream
        given = written({"init": str(self._path), "data": stream, **asked})
        try:
            measured = parsed(_native.evaluate(given, switch("test_only", test_only), told))
            told.notes(measured.get("notes", []))
            return measured
        finally:
            told.close()

    def _ids(self, what: str, given: Any) -> tuple[bool, Any]:
        """Whether they are text, and a list or an array of `uint64`."""
        import numpy as np

        text, found = ids(what, given)
        if len(found) == 0 and not self._native.ids_are_text:
            return False, np.empty(0, dtype=np.uint64)
        return text, found

    def __reduce__(self) -> Any:
        raise TypeError("a Model can't be copied or pickled; save() it, and load() it where it is needed")

    def __repr__(self) -> str:
        model, stream, device = self._native.describe()
        count = self._native.node_count
        return f"Model({model!r} of {stream!r}, {self.events} events, {count} nodes, on {device!r})"


#: Of how events that a model follows are read, what its stream has said, and what they have no part in.
_OF_THE_MODEL = {"ids", "bipartite", "node_feature_file", "split", "split_at"}


def _refuse_gone_stream(place: str) -> None:
    """Says what to do of a run whose stream was converted into a store that is not there any more."""
    if not os.path.isfile(os.path.join(place, "config.json")):
        return
    stream = str(Run(place).config.get("data"))
    if stream.endswith(".mspipe") and not os.path.exists(stream):
        raise _native.Error(
            f"{place}: its stream's conversion is gone (there is no {stream}); say where it is with data=, for a table "
            "in memory data=Dataset(…) of the same table"
        ) from None


def _given_back(keys: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    if isinstance(keys, bytearray):
        return np.frombuffer(keys, dtype=np.uint64)
    return np.asarray(keys, dtype=object)
