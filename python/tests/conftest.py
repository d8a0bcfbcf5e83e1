"""Small streams, and where runs go. Nothing is left outside pytest's own folders."""

import numpy as np
import pytest

import mspipe

#: A run that takes a second or two.
SMALL = {"model": "tgn", "width": 8, "epochs": 2, "batch_size": 50, "device": "cpu", "seed": 3}


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Conversions go into a folder of the tests, of the command's too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSPIPE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def events(count=400, sources=20, destinations=10):
    """Columns of events whose ids are sparse, with two features and labels of which some are missing."""
    rng = np.random.default_rng(7)
    return {
        "user_id": 5 + 3 * rng.integers(0, sources, count),
        "item_id": 1000 + 7 * rng.integers(0, destinations, count),
        "timestamp": np.sort(rng.integers(0, 10_000, count)),
        "state_label": rng.integers(0, 2, count),
        "amount": rng.standard_normal(count).astype(np.float32),
        "price": (rng.integers(-500, 500, count) / 8).astype(np.float64),
    }


@pytest.fixture
def columns():
    return events()


@pytest.fixture(scope="session")
def trained(tmp_path_factory, own_cache):
    """A run on a table in memory."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    return mspipe.Trainer(**SMALL, out=out).fit(mspipe.Dataset(events(), name="small"), progress=False)
