"""The page's code as a program with types. Not run: test_types.py has mypy read it, strictly."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np

import mspipe

rng = np.random.default_rng(0)
columns = {"user_id": rng.integers(0, 50, 2000), "timestamp": np.arange(2000)}

events = mspipe.Dataset(columns, dst="item_id", features=["amount"], sort=True, split=(0.7, 0.15), name="events")
assert_type(events.hash, str)
assert_type(events.notes, list[str])
assert_type(len(events) + events.nodes, int)
assert_type(events.info(), dict[str, Any])
mspipe.Dataset(Path("events.csv"), edge_feature_file=Path("features.npy"))


def first_only(record: dict[str, Any]) -> None:
    if record["epoch"] == 1:
        raise StopIteration


trainer = mspipe.Trainer(
    model="tgn", width=16, epochs=2, device="cpu", learning_rate=1e-4, pair_history=True, hide_batch=None, out=Path("runs/first")
)
assert_type(trainer, mspipe.Trainer)
run = trainer.fit(events, on_epoch=first_only, progress=False)
assert_type(run, mspipe.Run)
assert_type([record["val"]["ap"] for record in run.history], list[Any])
assert_type(run.losses, list[float])
assert_type(run.report(), Path)
assert_type(run.folder, Path)
assert_type(mspipe.resume("runs/second", on_epoch=print), mspipe.Run)

model = mspipe.Model.load(run, device="cpu")
best = model.top_k([3, 4], k=5, exclude_seen=True)
assert_type(best, mspipe.Table)
assert_type(best["score"], np.ndarray[Any, Any])
assert_type(dict(best), dict[str, np.ndarray[Any, Any]])
assert_type(model.score([3, 4], [1, 2], time="2024-05-01").rows, int)
assert_type(model.embed(np.array([3, 4]), side="source"), np.ndarray[Any, Any])
assert_type(model.update({"user_id": [3], "item_id": [1], "timestamp": [2001]}, late="accept"), dict[str, int])
assert_type(model.save("first.safetensors", force=True), Path)
assert_type(model.eval(test_only=True, protocol="tgb"), dict[str, Any])
assert_type(model.last_time, str | None)

assert_type(mspipe.audit(run, probes=3), dict[str, Any])
assert_type(mspipe.audit(events, model="jodie"), dict[str, Any])
assert_type(mspipe.devices(), dict[str, Any])
assert_type(mspipe.simulate({"sample": 3, "train": 10.5}, memory="host", ranks=8), dict[str, Any])

# What is no setting, or no value of one, is an error before anything runs.
mspipe.Trainer(widht=16)  # type: ignore[call-arg]
mspipe.Trainer(model="gcn")  # type: ignore[arg-type]
mspipe.Trainer(epochs="many")  # type: ignore[arg-type]
mspipe.Dataset("wikipedia", sorted=True)  # type: ignore[call-arg]
trainer.fit(events, on_epoch=3)  # type: ignore[arg-type]
try:
    model.top_k()  # type: ignore[call-arg]
except mspipe.Error as error:
    print(error)
