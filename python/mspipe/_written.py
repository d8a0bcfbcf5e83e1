"""Settings as the command line writes them. What they are is said once, by the options (`mspipe config --schema`)."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from . import _native

#: Settings that are paths.
PATHS = {"init", "out", "edge_feature_file", "node_feature_file"}

#: What options call `True` and `False`, beside switches.
SWITCHES = (("on", "off"), ("yes", "no"))

#: No setting has as many values: an array of more is one of data.
_MOST_VALUES = 100


@functools.cache
def schema() -> dict[str, dict[str, Any]]:
    """The JSON schema of each setting."""
    properties: dict[str, dict[str, Any]] = json.loads(_native.schema())["properties"]
    groups = {"reading", "pipeline", "edge_scale", "without_effect"}
    return {name: of for name, of in properties.items() if name not in groups}


def value(name: str, given: Any) -> str:
    """What the option `name` would be given: `True` is on or yes, numbers and paths are text, several have commas."""
    if name in PATHS:
        features = "; features in memory are columns of the table" if name.endswith("feature_file") else ""
        return path_of(name, given, "a path" + features)
    _refuse_data(name, given)
    if hasattr(given, "__array__"):
        import numpy as np

        if isinstance(given, np.datetime64):
            # As an item it would be a number of nanoseconds, or a date.
            return str(given)
        given = list(given) if np.ndim(given) else given.item()
    if isinstance(given, bool):
        words = schema().get(name, {}).get("enum", [])
        both = next((both for both in SWITCHES if both[0] in words), ("true", "false"))
        return both[0] if given else both[1]
    if isinstance(given, (list, tuple)):
        return ",".join(value(name, one) for one in given)
    if isinstance(given, (str, os.PathLike)):
        return utf8(name, os.fsdecode(given))
    if isinstance(given, float):
        # Beyond 2^53 the shortest decimal is another whole number.
        return str(int(given)) if given.is_integer() and abs(given) >= 2**53 else repr(given)
    return str(given)


def _refuse_data(name: str, given: Any) -> None:
    """Refuses what is no setting but a table, before it is written out."""
    shape = tuple(getattr(given, "shape", ()))
    if isinstance(given, (list, tuple)):
        shape = (len(given),)
    if len(shape) > 1 or shape and shape[0] > _MOST_VALUES:
        found = f"{type(given).__name__} of {' x '.join(map(str, shape))} values"
        raise _native.Error(f"{name}: found {found}, expected one value, or a few; data are columns of the table")


def path_of(name: str, given: Any, expected: str) -> str:
    """A path as text."""
    if not isinstance(given, (str, os.PathLike)):
        raise _native.Error(f"{name}: found {type(given).__name__}, expected {expected}")
    return utf8(name, os.fsdecode(given))


def place_of_stream(name: str, given: Any, expected: str) -> str:
    """Where a stream is: a file is that one wherever the process goes later, and a name is a data set."""
    place = path_of(name, given, expected)
    return os.path.abspath(place) if os.path.exists(place) else place


def utf8(name: str, text: str) -> str:
    """Text without half of a surrogate pair, which the name of a file in another encoding has."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _native.Error(f"{name}: found {text!a}, expected text in UTF-8") from None
    return text


def switch(name: str, given: object) -> bool:
    """A truth value as it is: "no" is none."""
    if not isinstance(given, bool):
        raise _native.Error(f"{name}: found {given!r}, expected True or False")
    return given


def settings(given: dict[str, Any]) -> list[tuple[str, str]]:
    """All of them; what is `None` is as if it was not given."""
    for name in given:
        if not (name.isascii() and name.isidentifier()):
            # With hyphens it would be the same setting by another name.
            meant = name.strip("-").replace("-", "_")
            nearest = f"; do you mean {meant}=?" if meant in schema() else ""
            raise _native.Error(f"unknown keyword {name!a}{nearest}")
    return [(name, value(name, of)) for name, of in given.items() if of is not None]
