"""Settings as the command line writes them. What they are is said once, by the options (`mspipe config --schema`)."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from . import _native


@functools.cache
def schema() -> dict[str, dict[str, Any]]:
    """The JSON schema of each setting."""
    properties: dict[str, dict[str, Any]] = json.loads(_native.schema())["properties"]
    groups = {"reading", "pipeline", "edge_scale", "without_effect"}
    return {name: of for name, of in properties.items() if name not in groups}


def value(name: str, given: Any) -> str:
    """What the option `name` would be given: `True` is on, numbers and paths are text, several have commas."""
    if hasattr(given, "__array__"):
        import numpy as np

        if isinstance(given, np.datetime64):
            # As an item it would be a number of nanoseconds, or a date.
            return str(given)
        given = list(given) if np.ndim(given) else given.item()
    if isinstance(given, bool):
        words = schema().get(name, {}).get("enum", [])
        return ("on" if given else "off") if "on" in words else str(given).lower()
    if isinstance(given, (list, tuple)):
        return ",".join(value(name, one) for one in given)
    if isinstance(given, (str, os.PathLike)):
        return os.fsdecode(given)
    return repr(given) if isinstance(given, float) else str(given)


def switch(name: str, given: object) -> bool:
    """A truth value as it is: "no" is none."""
    if not isinstance(given, bool):
        raise _native.Error(f"{name}: found {given!r}, expected True or False")
    return given


def settings(given: dict[str, Any]) -> list[tuple[str, str]]:
    """All of them; what is `None` is as if it was not given."""
    return [(name, value(name, of)) for name, of in given.items() if of is not None]
