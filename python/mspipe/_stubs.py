"""Writes `_settings.py` from the schema of the options: `python -m mspipe._stubs`. A test compares the two."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from . import _native
from ._written import PATHS, SWITCHES, schema

#: Settings that are no keywords: the stream is given as such, and says itself what its columns hold.
_LEFT_OUT = {"data", "columns"}

#: Settings that say how a stream is read, and are a dataset's.
_OF_DATA = {
    "edge_feature_file",
    "node_feature_file",
    "format",
    "sort",
    "no_header",
    "ids",
    "bipartite",
    "time_unit",
    "missing",
    "split",
    "split_at",
}

_FILE = '''"""Settings of a run, from the schema of the options. Written by `python -m mspipe._stubs`; do not change it by hand."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict

#: What the command line takes as text; a list is joined with commas.
Text = str | int | float | PathLike[str] | Sequence[str | int | float]


class Reading(TypedDict, total=False):
    """Keywords of `mspipe.Dataset` that say how a stream is read, and settings of a run too."""

{reading}


class Settings(Reading, total=False):
    """Keywords of `mspipe.Trainer`: the options of `mspipe train`. `None` is as if one was not given.

{says}
    """

{rest}
'''


def _type(name: str, of: dict[str, Any]) -> str:
    if name in PATHS:
        return "str | PathLike[str]"
    if "enum" in of:
        words = [word for word in of["enum"] if word is not None]
        literal = "Literal[" + ", ".join(f'"{word}"' for word in words) + "]"
        return f"bool | {literal}" if any(yes in words for yes, _ in SWITCHES) else literal
    kind = of["type"]
    kind = kind[0] if isinstance(kind, list) else kind
    return {"boolean": "bool", "integer": "int", "number": "float"}.get(kind, "Text")


def _says(name: str, of: dict[str, Any]) -> str:
    """An item of the list of all, which calls the others by their keywords."""
    says = of["description"].rstrip(".")
    if "default" in of and of["default"] != "":
        says += f" [default: {of['default']}]"
    if "maximum" in of:
        says += f"; from {of['minimum']} to {of['maximum']:,}"
    says = _native.in_keywords(says).replace("\\", "\\\\").replace('"""', "'''")
    kind = _type(name, of).replace("Text", "str")
    item = f"    * `{name}: {kind}`: {says}."
    return textwrap.fill(item, 118, subsequent_indent="      ", break_on_hyphens=False)


def text() -> str:
    """The whole file."""
    keywords = {name: of for name, of in schema().items() if name not in _LEFT_OUT}

    def fields(of_data: bool) -> str:
        of = (item for item in keywords.items() if (item[0] in _OF_DATA) == of_data)
        return "\n".join(f"    {name}: {_type(name, one)} | None" for name, one in of)

    says = "\n".join(_says(name, of) for name, of in keywords.items())
    return _FILE.format(reading=fields(True), says=says, rest=fields(False))


def main() -> None:
    """Writes it."""
    Path(__file__).with_name("_settings.py").write_text(text())


if __name__ == "__main__":
    main()
