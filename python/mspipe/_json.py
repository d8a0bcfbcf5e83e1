"""What the extension and the files of a run say in JSON."""

from __future__ import annotations

import json
from typing import Any


def parsed(text: str) -> dict[str, Any]:
    """An object."""
    found: dict[str, Any] = json.loads(text)
    return found
