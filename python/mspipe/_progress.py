"""What is seen of work: lines on stderr, in a terminal and in a notebook."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from . import _native
from ._written import switch

#: Characters of a bar.
_WIDTH = 24


class Progress:
    """Hears what the extension tells; calls `on_epoch` with each epoch's record.

    `hash` is that of the stream as the caller knows it.
    """

    def __init__(
        self, shown: bool, on_epoch: Callable[[dict[str, Any]], object] | None = None, hash: str | None = None
    ) -> None:
        if on_epoch is not None and not callable(on_epoch):
            raise _native.Error(f"on_epoch: found {on_epoch!r}, expected what can be called with the record of an epoch")
        self._shown = switch("progress", shown)
        self._on_epoch = on_epoch
        self._hash = hash
        self._seed = 0
        self._folder = ""
        self._epochs = 0
        self._length = 0

    def __call__(self, kind: str, text: str) -> None:
        told = json.loads(text)
        match kind:
            case "run":
                self._epochs, self._seed, self._folder = told["epochs"], told["seed"], told["folder"]
                self._say(f"run       {told['folder']}, on {told['adapter']}")
                if self._hash not in (None, told["hash"]):
                    warnings.warn(
                        f"the stream has changed since its Dataset was made (hash {self._hash:.12}, now {told['hash']:.12})",
                        stacklevel=3,
                    )
                self.notes(told["notes"])
            case "iteration":
                done = told["iteration"] / max(told["iterations"], 1)
                bar = "#" * round(done * _WIDTH)
                self._bar(f"epoch {told['epoch']}/{self._epochs} [{bar:<{_WIDTH}}] {done:4.0%} {told['events']:,} events")
            case "evaluating":
                self._bar(f"evaluating the {told} part")
            case "checking":
                self._bar(f"checking {told}")
            case "epoch":
                record = {"seed": self._seed, "epoch": told["epoch"], **told["record"]}
                val = record["val"]
                measured = ", ".join(f"{name} {val[name]:.4f}" for name in ("ap", "auc") if val.get(name) is not None)
                self._say(f"epoch {record['epoch']:<3} loss {record['train_loss']:.4f}  val {measured}")
                if self._on_epoch is not None:
                    self._call(self._on_epoch, record)
            case "ended":
                self._say(f"ended     {_native.in_keywords(told)}")
            case "warning":
                said = _native.in_keywords(told)
                if self._shown:
                    self._say(f"warning: {said}")
                else:
                    warnings.warn(said, stacklevel=3)

    def notes(self, notes: list[str]) -> None:
        """Shows what settings come to."""
        for note in notes:
            self._say(f"note      {_native.in_keywords(note)}")

    def _call(self, on_epoch: Callable[[dict[str, Any]], object], record: dict[str, Any]) -> None:
        """Calls it; a run whose folder counts from that of the process ends where that has become another one."""
        here = os.getcwd()
        on_epoch(record)
        there = os.getcwd()
        if there != here and not os.path.isabs(self._folder):
            os.chdir(here)
            raise _native.Error(
                f"on_epoch has taken the process to {there}, and the run is written to {self._folder} of {here}, where the "
                "process is again; give the run out="
            )

    def close(self) -> None:
        """Leaves no half line."""
        self._bar("")

    def _say(self, line: str) -> None:
        if self._shown:
            self._bar("")
            print(line, file=sys.stderr, flush=True)

    def _bar(self, line: str) -> None:
        if self._shown and (line or self._length):
            sys.stderr.write("\r" + line.ljust(self._length) + ("" if line else "\r"))
            sys.stderr.flush()
            self._length = len(line)
