"""What comes over Arrow's C stream: every type that is taken, and words for every one that is not."""

import datetime

import numpy as np
import pytest

import mspipe

pa = pytest.importorskip("pyarrow")

ROWS = 40


def table(**columns):
    """Events with these columns beside."""
    rows = np.arange(ROWS)
    ends = {"src": rows % 7, "dst": 100 + rows % 3, "time": rows}
    return pa.table({**ends, **columns})


def hash_of(**columns):
    return mspipe.Dataset(table(**columns)).hash


def test_numbers_of_every_type_are_the_same_features():
    whole = np.arange(ROWS) % 100
    expected = hash_of(x=whole.astype(np.float32))
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"):
        assert hash_of(x=pa.array(whole.astype(name))) == expected, name
        lists = pa.FixedSizeListArray.from_arrays(pa.array(whole.astype(name)), 1)
        assert hash_of(x=lists) == expected, f"a list of {name}"
    bits = whole % 2 == 0
    # A column of truth values is kept as bits, a list of them as numbers.
    assert hash_of(x=pa.FixedSizeListArray.from_arrays(pa.array(bits), 1)) == hash_of(x=bits.astype(np.int8))
    assert hash_of(x=bits) == hash_of(x=pa.concat_arrays([pa.array(bits[:7]), pa.array(bits[7:])]))


def test_moments_of_every_unit_are_the_same_times():
    days = [datetime.date(2024, 5, 1) + datetime.timedelta(days=row) for row in range(ROWS)]
    hashes = {
        str(of): mspipe.Dataset(table().set_column(2, "time", pa.array(days).cast(of))).hash
        for of in (pa.date32(), pa.date64(), *map(pa.timestamp, ("s", "ms", "us", "ns")))
    }
    assert len(set(hashes.values())) == 1, hashes
    late = pa.array([0] * (ROWS - 1) + [2**60]).cast(pa.timestamp("s"))
    with pytest.raises(mspipe.Error, match=f"the column 'time', row {ROWS - 1}: the moment is too large"):
        mspipe.Dataset(table().set_column(2, "time", late))


def test_text_of_every_type_is_the_same_ids():
    names = [f"a name that is longer than twelve bytes {row % 7}" if row % 2 else f"é{row % 5}" for row in range(ROWS)]
    short = pa.array(names)
    of = [short, short.cast(pa.large_string()), short.cast(pa.string_view()), short.dictionary_encode()]
    of += [short.dictionary_encode().cast(pa.dictionary(key, pa.string())) for key in (pa.uint8(), pa.int64())]
    given = [mspipe.Dataset(table().set_column(0, "src", names)).hash for names in of]
    assert len(set(given)) == 1, given
    # Parts of a table, some without a row, are the table.
    whole = table().set_column(0, "src", of[2])
    parts = pa.concat_tables([whole.slice(0, 3), whole.slice(3, 0), whole.slice(3, 20), whole.slice(23)])
    assert mspipe.Dataset(parts).hash == given[0]
    wrong = pa.array([b"fine"] * 11 + [b"\xff"] + [b"fine"] * (ROWS - 12)).view(pa.string())
    with pytest.raises(mspipe.Error, match="the column 'src', row 11: the text is not UTF-8"):
        mspipe.Dataset(table().set_column(0, "src", wrong))
    offsets = pa.py_buffer(np.array([0, 3, 1, *range(4, ROWS + 2)], np.int32).tobytes())
    backwards = pa.StringArray.from_buffers(ROWS, offsets, pa.py_buffer(b"a" * (ROWS + 2)))
    with pytest.raises(mspipe.Error, match="the column 'src', row 1: it ends before it begins"):
        mspipe.Dataset(table().set_column(0, "src", backwards))


def test_lists_of_categories_are_what_they_stand_for():
    pl = pytest.importorskip("polars")
    values = [10 if row % 3 else 20 for row in range(ROWS)]
    expected = hash_of(x=pa.array([[value] for value in values], pa.list_(pa.int64())))
    keys = pa.array(values).dictionary_encode()
    for lists in (
        pa.ListArray.from_arrays(pa.array(range(ROWS + 1), pa.int32()), keys),
        pa.FixedSizeListArray.from_arrays(keys, 1),
        pa.FixedSizeListArray.from_arrays(pa.array(values, pa.float64()).dictionary_encode(), 1),
    ):
        assert hash_of(x=lists) == expected, lists.type
    assert hash_of(x=pa.array(values, pa.uint64()).dictionary_encode()) == hash_of(x=pa.array(values))
    texts = table().to_pydict() | {"x": pl.Series([["a"], ["b"]] * (ROWS // 2), dtype=pl.List(pl.Categorical))}
    with pytest.raises(mspipe.Error, match=r"the column 'x' has lists of text \(Arrow's type 'vu'\); expected lists of numbers"):
        mspipe.Dataset(pl.DataFrame(texts))


def test_a_type_of_a_package_is_no_number():
    pd = pytest.importorskip("pandas")
    periods = pd.period_range("2020-01", periods=ROWS, freq="M")
    with pytest.raises(mspipe.Error, match="the column 'time' is of the extension type 'pandas.period'"):
        mspipe.Dataset(pd.DataFrame({**table().to_pydict(), "time": periods}))

    class Ordinal(pa.ExtensionType):
        def __init__(self):
            super().__init__(pa.int64(), "test.ordinal")

        def __arrow_ext_serialize__(self):
            return b""

    ordinals = pa.ExtensionArray.from_storage(Ordinal(), pa.array(range(ROWS)))
    for column in (ordinals, pa.ListArray.from_arrays(pa.array(range(ROWS + 1), pa.int32()), ordinals)):
        with pytest.raises(mspipe.Error, match="'x'.* is of the extension type 'test.ordinal'"):
            hash_of(x=column)
    rows = np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(rows)
    assert hash_of(x=tensors) == hash_of(x=pa.array(rows.tolist(), pa.list_(pa.float32(), 2)))


def test_what_is_missing_is_missing_in_every_type():
    there = [None if row % 9 == 4 else row % 4 for row in range(ROWS)]
    expected = mspipe.Dataset(table(x=pa.array(there, pa.float32())), missing="zero").hash
    keys = pa.array([4 if value is None else value for value in there], pa.int8())
    ways = {
        "int16": pa.array(there, pa.int16()),
        "a dictionary": pa.array(there, pa.int64()).dictionary_encode(),
        "a dictionary with a null": pa.DictionaryArray.from_arrays(keys, pa.array([0, 1, 2, 3, None], pa.int64())),
        "lists": pa.FixedSizeListArray.from_arrays(pa.array(there, pa.uint8()), 1),
    }
    for way, column in ways.items():
        assert mspipe.Dataset(table(x=column), missing="zero").hash == expected, way
        with pytest.raises(mspipe.Error, match="row 4"):
            mspipe.Dataset(table(x=column))
    pl = pytest.importorskip("polars")
    nothing = table(x=pa.nulls(ROWS))
    # polars gives such a column a buffer, which the interface does not have.
    for of in (nothing, pl.DataFrame({name: nothing[name].to_pylist() for name in nothing.column_names})):
        assert mspipe.Dataset(of, missing="zero").hash == hash_of(x=np.zeros(ROWS, np.float32)), type(of)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([1] * ROWS).cast(pa.duration("s")), r"the column 'x' is durations \(Arrow's type 'tDs'\); expected numbers"),
        (pa.array([1] * ROWS, pa.time32("s")), "the column 'x' is times of day"),
        (pa.array([b"a"] * ROWS), "the column 'x' is binary"),
        (pa.array([b"ab"] * ROWS, pa.binary(2)), "the column 'x' is binary of a fixed length"),
        (pa.array([1] * ROWS, pa.decimal256(40, 2)), "the column 'x' is decimals of another size than 128 bits"),
        (pa.array([{"a": 1}] * ROWS), r"the column 'x' is structures"),
        (pa.array([["a"]] * ROWS), r"the column 'x' has lists of text"),
        (pa.array([0.5] * ROWS).dictionary_encode(), "the column 'x' is a dictionary .a category. of other values"),
        (pa.array([[1.0]] * 6 + [None] * (ROWS - 6)), "the column 'x', row 6: null, expected a list in every row"),
        (pa.array([[1.0]] * 6 + [[]] * (ROWS - 6)), "the column 'x', row 6: a list of 0 values, expected 1, as in the rows before"),
    ],
)
def test_a_type_that_is_not_taken_is_named(column, says):
    with pytest.raises(mspipe.Error, match=says):
        mspipe.Dataset(table(x=column))


def test_a_column_that_was_not_asked_for_may_have_any_type():
    expected = mspipe.Dataset(table(x=pa.array(range(ROWS)))).hash
    ragged = pa.array([[1.0] * (row % 3) for row in range(ROWS)])
    for other in (pa.array([1] * ROWS).cast(pa.duration("s")), ragged, pa.array([[["a"]]] * ROWS)):
        stream = mspipe.Dataset(table(x=pa.array(range(ROWS)), y=other), features=["x"])
        assert stream.hash == expected, other.type
        assert any("`y`" in note for note in stream.notes), stream.notes


def test_a_category_beyond_its_dictionary_is_refused():
    keys = pa.array([0] * 6 + [7] * (ROWS - 6), pa.int8())
    damaged = pa.DictionaryArray.from_arrays(keys, pa.array([4, 5]), safe=False)
    with pytest.raises(mspipe.Error, match="row 6: the category 7 of 2"):
        mspipe.Dataset(table(x=damaged))
    flat = pa.array([0] * 13 + [7] + [1] * (2 * ROWS - 14), pa.int8())
    within = pa.DictionaryArray.from_arrays(flat, pa.array([4, 5]), safe=False)
    lists = pa.FixedSizeListArray.from_arrays(within, 2)
    with pytest.raises(mspipe.Error, match="row 6: the category 7 of 2"):
        mspipe.Dataset(table(x=lists))


def test_streams_that_are_no_table():
    with pytest.raises(mspipe.Error, match="it is no table but one column; give a table with names"):
        mspipe.Dataset(pa.chunked_array([[1, 2, 3]]))

    def failing():
        yield table().to_batches()[0]
        raise ValueError("the line is cut")

    with pytest.raises(mspipe.Error, match="the line is cut") as caught:
        mspipe.Dataset(pa.RecordBatchReader.from_batches(table().schema, failing()))
    assert "Producer" not in str(caught.value)

    class Taken:
        capsule = table().__arrow_c_stream__()

        def __arrow_c_stream__(self, requested_schema=None):
            return self.capsule

    mspipe.Dataset(Taken())
    with pytest.raises(mspipe.Error, match="read before|no event"):
        mspipe.Dataset(Taken())
    with pytest.raises(mspipe.Error):
        mspipe.Dataset(table().slice(0, 0))
