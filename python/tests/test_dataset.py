"""The same events give the same stream, whatever they come as."""

import collections
import copy
import datetime
import decimal
import enum
import json
import pickle
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mspipe
from mspipe._written import value

COMMAND = [str(Path(sys.executable).with_name("mspipe"))]


def text_of(columns):
    """As csv; floats as the shortest decimals that stand for them."""
    rows = zip(*(column.tolist() if column.dtype != np.float32 else map(str, column) for column in columns.values()))
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n"


def test_every_way_in_gives_the_hash_of_the_file(columns, tmp_path):
    pa = pytest.importorskip("pyarrow")
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    duckdb = pytest.importorskip("duckdb")
    import pyarrow.parquet

    text = tmp_path / "events.csv"
    text.write_text(text_of(columns))
    table = pa.table(columns)
    pyarrow.parquet.write_table(table, tmp_path / "events.parquet")
    frame = pd.DataFrame(columns)
    ways = {
        "csv": str(text),
        "parquet": tmp_path / "events.parquet",
        "numpy": columns,
        "lists": {name: column.tolist() for name, column in columns.items()},
        "pyarrow": table,
        "chunks": pa.concat_tables([table.slice(0, 13), table.slice(13, 100), table.slice(113)]),
        "reader": table.to_reader(max_chunksize=64),
        "pandas": frame,
        "polars": pl.DataFrame(columns),
        "duckdb": duckdb.from_df(frame),
    }
    hashes = {way: mspipe.Dataset(of).hash for way, of in ways.items()}
    assert set(hashes.values()) == {hashes["csv"]}, hashes
    assert len(hashes["csv"]) == 64

    store = tmp_path / "store"
    for words in (["import", str(text), "--to", str(store)], ["info", str(store), "--json"]):
        done = subprocess.run([*COMMAND, "data", *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hash"] == hashes["csv"]
    # And other values are another stream.
    other = {name: column.copy() for name, column in columns.items()}
    other["amount"][0] += 1
    assert mspipe.Dataset(other).hash != hashes["csv"]


def test_temporal_data_is_taken(columns):
    features = np.stack([columns["amount"], columns["price"].astype(np.float32)], axis=1)
    data = SimpleNamespace(
        src=columns["user_id"], dst=columns["item_id"], t=columns["timestamp"], msg=features, y=columns["state_label"]
    )
    given = mspipe.Dataset(data, bipartite="yes")
    assert given.hash == mspipe.Dataset(columns).hash
    without = SimpleNamespace(src=data.src, dst=data.dst, t=data.t, msg=np.empty((400, 0)), y=None)
    assert mspipe.Dataset(without, bipartite="yes").info()["edge_features"] is None


def test_columns_get_their_roles_by_name(columns):
    renamed = dict(zip(["a", "b", "c", "d", "e", "f"], columns.values()))
    given = mspipe.Dataset(renamed, src="a", dst="b", time="c", label="d", features=["e", "f"], bipartite="yes")
    assert given.hash == mspipe.Dataset(columns).hash
    # What nobody reads may be no column at all.
    fewer = mspipe.Dataset({**renamed, "g": [object()] * 400}, src="a", dst="b", time="c", features="f")
    assert fewer.info()["edge_features"]["width"] == 1
    assert any("left out" in note for note in fewer.notes), fewer.notes


def test_text_ids_moments_and_missing_values_are_those_of_a_file(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    start = datetime.datetime(2024, 5, 1)
    moments = [start + datetime.timedelta(seconds=37 * event) for event in range(300)]
    buyer = [f"buyer {event % 11} of the longest names" for event in range(300)]
    product = [f"p{event % 5}" for event in range(300)]
    amount = [None if event % 50 == 3 else event / 4 for event in range(300)]
    text = tmp_path / "shop.csv"
    rows = zip(buyer, product, moments, amount)
    lines = [f"{b},{p},{m.isoformat()},{'' if a is None else a}" for b, p, m, a in rows]
    text.write_text("\n".join(["buyer,product,time,amount", *lines]) + "\n")
    names = {"buyer": buyer, "product": product, "time": moments, "amount": amount}
    arrow = pa.table(names)
    ways = [
        str(text),
        arrow,
        arrow.set_column(0, "buyer", arrow["buyer"].dictionary_encode()),
        arrow.set_column(1, "product", arrow["product"].cast(pa.large_string())),
        arrow.set_column(2, "time", arrow["time"].cast(pa.timestamp("s"))),
        arrow.set_column(2, "time", pa.array(moments, pa.timestamp("ns", "UTC"))),
        pl.DataFrame(names),
        pl.DataFrame(names).with_columns(pl.col("buyer").cast(pl.Categorical)),
        {**names, "time": np.array(moments, "datetime64[s]"), "amount": np.array(amount, float)},
    ]
    datasets = [mspipe.Dataset(way, missing="zero") for way in ways]
    assert len({of.hash for of in datasets}) == 1, [(type(way), of.hash) for way, of in zip(ways, datasets)]
    with pytest.raises(mspipe.Error, match="row 3"):
        mspipe.Dataset(arrow)


def test_lists_are_features_and_decimals_are_exact():
    pa = pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    ends = {"src": np.arange(60) % 7, "dst": 100 + np.arange(60) % 3}
    rows = rng.standard_normal((60, 5)).astype(np.float32)
    times = [decimal.Decimal(event) / 4 for event in range(60)]
    exact = pa.array(times, pa.decimal128(12, 2))
    given = mspipe.Dataset({**ends, "time": np.arange(60) / 4, "x": rows})
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), 5)
    for lists in (fixed, pa.array(rows.tolist(), pa.list_(pa.float32())), fixed.cast(pa.large_list(pa.float32()))):
        table = pa.table({**ends, "time": exact, "x": lists})
        assert mspipe.Dataset(table).hash == given.hash
        assert mspipe.Dataset(pa.concat_tables([table.slice(0, 1), table.slice(1)])).hash == given.hash
    with pytest.raises(mspipe.Error, match="a list of 2 values, expected 5"):
        mspipe.Dataset(pa.table({**ends, "time": exact, "x": [[0.0] * 5] * 59 + [[0.0] * 2]}))


def test_lists_of_objects_are_what_their_values_are(columns):
    given = mspipe.Dataset(columns)
    lists = {name: column.tolist() for name, column in columns.items()}
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    # As whole numbers with gaps, decimals and moments; nothing goes through floats.
    lists["price"] = [decimal.Decimal(price) for price in lists["price"]]
    lists["timestamp"] = [start + datetime.timedelta(seconds=time) for time in lists["timestamp"]]
    assert mspipe.Dataset(lists).hash == given.hash
    ids = 2**60 + columns["user_id"]
    wide = mspipe.Dataset({**columns, "user_id": ids})
    assert mspipe.Dataset({**columns, "user_id": [*ids.tolist()]}).hash == wide.hash
    assert mspipe.Dataset({**columns, "user_id": np.ma.masked_array(ids, mask=False)}).hash == wide.hash
    assert mspipe.Dataset({**columns, "user_id": ids.astype(object)}).hash == wide.hash
    names = [str(uuid.UUID(int=one)) for one in columns["user_id"].tolist()]
    of_text = mspipe.Dataset({**columns, "user_id": names}).hash
    for alone in ([uuid.UUID(name) for name in names], [name.encode() for name in names], np.array(names, dtype=object)):
        assert mspipe.Dataset({**columns, "user_id": alone}).hash == of_text
    gaps = [None, *lists["amount"][1:]]
    masked = np.ma.masked_array(columns["amount"], mask=np.arange(400) == 0)
    filled = mspipe.Dataset({**columns, "amount": gaps}, missing="zero")
    assert mspipe.Dataset({**columns, "amount": masked}, missing="zero").hash == filled.hash
    assert mspipe.Dataset({**columns, "amount": [0.0, *gaps[1:]]}).hash == filled.hash
    rows = np.ma.masked_array(np.ones((400, 2)), mask=[[True, False]] * 400)
    of_rows = mspipe.Dataset({**columns, "amount": rows}, missing="zero").hash
    assert mspipe.Dataset({**columns, "amount": list(rows)}, missing="zero").hash == of_rows
    assert mspipe.Dataset({**columns, "amount": rows.filled(0)}).hash == of_rows


def test_a_series_of_lists_is_rows_of_features(columns):
    pa = pytest.importorskip("pyarrow")
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    rows = np.stack([columns["amount"], -columns["amount"]], axis=1)
    expected = mspipe.Dataset({**columns, "amount": rows}).hash
    lists = rows.tolist()
    of_arrow = pa.array(lists)
    for series in (pl.Series(lists), pl.Series(rows), pd.Series(lists), pd.Series(list(rows)), of_arrow, pa.chunked_array([of_arrow])):
        assert mspipe.Dataset({**columns, "amount": series}).hash == expected, type(series)
    with pytest.raises(mspipe.Error, match="column 'amount', row 0: found None, expected a list of 2 numbers"):
        mspipe.Dataset({**columns, "amount": pd.Series([None, *lists[1:]])})


def test_a_frame_of_pandas_without_a_stream_is_read_column_by_column(columns, monkeypatch):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(columns)
    expected = mspipe.Dataset(frame).hash
    # Arrow has no type for a column of many.
    mixed = frame.assign(remark=["text", 1, b"bytes", None] * 100)
    features = ["amount", "price"]
    assert mspipe.Dataset(mixed, features=features).hash == mspipe.Dataset(frame, features=features).hash
    with pytest.raises(mspipe.Error, match="the column 'remark', row 1: found 1 .int., expected text"):
        mspipe.Dataset(mixed)
    renamed = frame.rename(columns={"price": "amount"})
    two = mspipe.Dataset(renamed)
    assert two.info()["edge_features"]["width"] == 2 and two.hash != mspipe.Dataset(frame.drop(columns="price")).hash

    zoned = frame.assign(timestamp=pd.to_datetime(frame["timestamp"], unit="s", utc=True))
    texts = frame.assign(user_id=frame["user_id"].astype(str).astype("category"), price=frame["price"].astype("Float64"))
    frames = [frame, frame[::-1][::-1], frame.set_index("timestamp"), zoned, texts]
    hashes = [mspipe.Dataset(given, bipartite=True).hash for given in frames]
    assert hashes[:4] == [expected] * 4

    def without_pyarrow(*_):
        raise ImportError("no pyarrow")

    monkeypatch.setattr(pd.DataFrame, "__arrow_c_stream__", without_pyarrow)
    assert [mspipe.Dataset(given, bipartite=True).hash for given in frames] == hashes


def test_objects_are_their_values(columns):
    class Kind(str, enum.Enum):
        A = "a"

    pd = pytest.importorskip("pandas")
    members = {"src": [Kind.A, "b"], "dst": ["c", "d"], "time": [1, 2]}
    texts = mspipe.Dataset({**members, "src": ["a", "b"]})
    beside = {"q": [decimal.Decimal(1), decimal.Decimal(2)]}
    for given in (members, pd.DataFrame(members), {**members, **beside}, pd.DataFrame({**members, **beside})):
        store = mspipe.Dataset(given, features=[]).settings["data"]
        assert (Path(store) / "names.json").read_text() == (Path(texts.settings["data"]) / "names.json").read_text()
    east, west = (datetime.timezone(datetime.timedelta(hours=hours)) for hours in (5, -5))
    moments = [datetime.datetime(1, 1, 1, tzinfo=east), datetime.datetime(9999, 12, 31, 23, tzinfo=west)]
    ends = mspipe.Dataset({**members, "time": moments}).info()
    assert (ends["first_time"], ends["last_time"]) == (-62_135_596_800 - 5 * 3600, 253_402_297_200 + 5 * 3600)


def test_moments_among_objects_of_a_frame_are_exact():
    pd = pytest.importorskip("pandas")
    day, stamp = datetime.date(2020, 1, 1), pd.Timestamp
    for moments in (
        [day, datetime.datetime(2020, 1, 1, 5)],
        [day, stamp(2020, 1, 1, 5)],
        [stamp(1_600_000_000_123_456_789), stamp(1_600_000_000_123_456_799)],
    ):
        ends = {"src": [1, 2], "dst": [3, 4]}
        frame = pd.DataFrame({**ends, "time": pd.Series(moments, dtype=object)})
        there, expected = mspipe.Dataset(frame).info(), mspipe.Dataset({**ends, "time": moments}).info()
        assert there["first_time"] < there["last_time"] == expected["last_time"], moments
        assert there["hash"] == expected["hash"]


def test_the_index_of_a_frame_is_a_column_if_it_has_a_name(columns):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(columns)
    counted = frame.rename_axis("number")
    shuffled = counted.sample(frac=1, random_state=0).sort_index()
    numbered = mspipe.Dataset({"number": np.arange(400), **columns}).hash
    assert [mspipe.Dataset(of, bipartite=True).hash for of in (counted, shuffled)] == [numbered] * 2
    for same in (frame.set_index(["timestamp", "user_id"]), frame.set_index("user_id", drop=False), frame.rename_axis(pd.NA)):
        assert mspipe.Dataset(same).hash == mspipe.Dataset(frame).hash
    # pyarrow tells names apart by their text alone.
    for name in (3, ("a", "b")):
        numbered = frame.rename(columns={"price": name})
        assert mspipe.Dataset(numbered.set_index(name, drop=False)).info()["edge_features"]["width"] == 2
    with pytest.raises(mspipe.Error, match="'user_id' is a column and, with other values, the index"):
        mspipe.Dataset(frame.rename_axis("user_id"))


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("user_id", np.ma.masked_array(np.arange(400), mask=np.arange(400) == 7), "column 'user_id', row 7: null"),
        ("user_id", np.arange(400) + 2.0**53, "column 'user_id', row 0: the id is 9007199254740992"),
        ("user_id", [2**64] * 400, "'user_id', row 0: found 18446744073709551616"),
        ("user_id", [2**53, *[0.5] * 399], "'user_id', row 0: .* 2\\^53"),
        ("user_id", ["a", 1.5] * 200, "'user_id', row 1: found 1.5 .* expected text"),
        ("user_id", ["1", 1] * 200, "'user_id', row 1: found 1 .int., expected text, as in the rows before"),
        ("user_id", [1, "1"] * 200, "'user_id', row 1: found '1' .str., expected a whole number"),
        ("user_id", np.array(["a", b"a"] * 200, dtype=object), "'user_id', row 1: found b'a' .bytes., expected text"),
        ("user_id", np.ma.masked_array(["1", 1] * 200, mask=False, dtype=object), "'user_id', row 1: found 1 .int."),
        ("user_id", [uuid.UUID(int=7), str(uuid.UUID(int=7))] * 200, "'user_id', row 1: .* expected a UUID"),
        ("user_id", [np.timedelta64(5, "s")] * 400, "'user_id', row 0: .* .timedelta64., expected numbers"),
        ("amount", [["1_000"]] * 400, "'amount', row 0: found '1_000' .str., expected a number"),
        ("amount", [[1.0], ["2"]] * 200, "'amount', row 1: found '2' .str., expected a number"),
        ("amount", [[np.datetime64("2020-01-01")]] * 400, "'amount', row 0: .* expected a number"),
        ("amount", np.full((400, 2), "2"), "'amount' has the shape .400, 2. and holds <U1, expected numbers in its rows"),
        ("timestamp", ["1"] * 399 + ["1970-01-01T01:00:00"], "row 399: the time is `1970-01-01T01:00:00`; expected a decimal"),
        ("user_id", [b"\xff"] * 400, "'user_id', row 0: .* UTF-8"),
        ("user_id", [object] * 400, "'user_id', row 0: .* expected numbers, truth values, text"),
        ("timestamp", np.full(400, 2**63, dtype=np.uint64), "the time is 9223372036854775808"),
        ("timestamp", np.full(400, 2**60, dtype="datetime64[D]"), "'timestamp', row 0: .* 64 bits"),
        ("timestamp", np.arange(400).astype("datetime64[ps]"), "'timestamp', row 1: .* part of a nanosecond"),
        ("timestamp", np.full(400, "NaT", dtype="datetime64[s]"), "column 'timestamp', row 0: null"),
        ("timestamp", np.arange(400).astype(np.longdouble) + 2**60 + 1, "'timestamp', row 0: .* 64 bits"),
        ("timestamp", collections.deque([0.5, *range(2**53, 2**53 + 399)]), "'timestamp', row 1: .* 2\\^53"),
        ("user_id", [decimal.Decimal("inf"), *range(399)], "'user_id', row 0: found Decimal"),
        ("user_id", ["a", "\ud800"] * 200, "'user_id', row 1: found '.ud800', expected text in UTF-8"),
        ("amount", [[1.0, 2.0], [1.0]] * 200, "'amount', row 1: found a list of 1, expected a list of 2 numbers"),
        ("amount", {1.0, 2.0}, "'amount' is {1.0, 2.0}, expected an array or a list"),
        ("amount", [[1.0], None] * 200, "'amount', row 1: found None"),
    ],
)
def test_no_value_is_cut_or_guessed(columns, column, values, said):
    with pytest.raises(mspipe.Error, match=said):
        mspipe.Dataset({**columns, column: values})


def test_what_can_not_be_read_says_why(columns):
    with pytest.raises(mspipe.Error, match="src: found 0, expected the name of a column"):
        mspipe.Dataset(columns, src=0)
    for how in ({"features": [""]}, {"label": " "}, {"features": 3}):
        with pytest.raises(mspipe.Error, match="(features|label): found .* expected .*name"):
            mspipe.Dataset({**columns, "": columns["amount"]}, **how)
    for file in (np.zeros((400, 4)), [[0.5] * 4] * 400, 3):
        with pytest.raises(mspipe.Error, match="file: found (ndarray|list|int), expected a path; features in memory"):
            mspipe.Dataset(columns, edge_feature_file=file)
    for many in (np.zeros((2, 2)), [0.5] * 400):
        with pytest.raises(mspipe.Error, match="found (ndarray of 2 x 2|list of 400) values, expected one value, or a few"):
            mspipe.Dataset(columns, split=many)
    for way in (copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match="copied or pickled"):
            way(mspipe.Dataset(columns))
    mixed = pytest.importorskip("pandas").DataFrame({"src": ["a", 1], "dst": [1, 2], "time": [1, 2]})
    with pytest.raises(mspipe.Error, match="the column .src., row 1: found 1 .int., expected text"):
        mspipe.Dataset(mixed)
    with pytest.raises(mspipe.Error, match="collect"):
        mspipe.Dataset(pytest.importorskip("polars").LazyFrame({"src": [1]}))
    with pytest.raises(mspipe.Error, match="such file"):
        mspipe.Dataset("./nothing.csv")
    with pytest.raises(mspipe.Error, match="name: found 'other', expected none: a file or a data set is called as it is"):
        mspipe.Dataset("./nothing.csv", name="other")
    with pytest.raises(mspipe.Error, match="table: found 'caf.udce9.csv', expected text in UTF-8"):
        mspipe.Dataset("caf\udce9.csv")
    with pytest.raises(mspipe.Error, match="'user_id' is {0, 1, .*...}, expected an array"):
        mspipe.Dataset({**columns, "user_id": set(range(100_000))})
    with pytest.raises(mspipe.Error, match="expected a file or a name"):
        mspipe.Dataset(3)
    with pytest.raises(mspipe.Error, match="column 'amount' has 399 rows"):
        mspipe.Dataset({**columns, "amount": columns["amount"][1:]})
    with pytest.raises(mspipe.Error, match="row 1: time .* precedes"):
        mspipe.Dataset({**columns, "timestamp": columns["timestamp"][::-1]})
    with pytest.raises(mspipe.Error, match="'colums'"):
        mspipe.Dataset(columns, colums="a")
    with pytest.raises(mspipe.Error, match="'split_at' can't be given with 'split'"):
        mspipe.Dataset(columns, split=(0.6, 0.2), split_at=(100, 200))
    with pytest.raises(mspipe.Error, match="'empty' has rows without a number"):
        mspipe.Dataset({**columns, "empty": [[]] * 400})
    with pytest.raises(mspipe.Error, match="`empty` has no value that a mean could be taken of"):
        mspipe.Dataset({**columns, "empty": [None] * 400}, missing="mean")
    with pytest.raises(mspipe.Error, match="ids: found 'numbers'"):
        mspipe.Dataset(columns, ids="numbers")
    assert mspipe.Dataset({**columns, "timestamp": columns["timestamp"][::-1]}, sort=True).events == 400


def test_arrays_are_settings_too(columns):
    np_array, pd = np.array, pytest.importorskip("pandas")

    def parts_of(**how):
        of = mspipe.Dataset(columns, **how).info()["split"]
        return [of["train"], of["val"], of["test"]]

    assert parts_of(split=pytest.importorskip("polars").Series([0.6, 0.2])) == [240, 80, 80]
    assert parts_of(split=np_array([0.6, 0.2])) == parts_of(split=(0.6, 0.2)) == [240, 80, 80]
    days = ["1970-01-01T00:30:00", "1970-01-01T01:00:00"]
    parts = parts_of(split_at=(1800, 3600))
    assert sum(parts) == 400 and min(parts) > 20
    for given in (days, np_array(days, "datetime64[ns]"), pd.DatetimeIndex(days), list(np_array(days, "datetime64[s]"))):
        assert parts_of(split_at=given) == parts, given
    assert mspipe.Dataset(columns, sort=np.bool_(True)).events == 400
    # The shortest decimal of a large float is another number.
    assert value("split_at", (2.0**60, np.float64(2.0**61), 0.5)) == f"{2**60},{2**61},0.5"


def test_a_name_is_a_data_set():
    of = mspipe.Dataset("synthetic:wikipedia:scale=0.01")
    assert of.events == len(of) > 1000
    assert of.info()["events"] == of.events
    assert of.settings == {"data": "synthetic:wikipedia:scale=0.01"}
    assert repr(of.events) in repr(of)
