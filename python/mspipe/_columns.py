"""Columns of arrays and lists, as the extension takes them: nothing is rounded, cut or guessed on the way."""

from __future__ import annotations

import datetime
import decimal
import reprlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native
from ._written import utf8

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: Floats of 64 bits tell all whole numbers below it apart.
_EXACT = 2**53
#: Whatever a program's own context rounds to.
_DIGITS = decimal.Context(prec=100)
#: A value in a message is no longer than this.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
#: What the extension takes of whole numbers.
_LEAST, _MOST = -(2**63), 2**64 - 1


class Column(NamedTuple):
    """A column by name and kind, its values, numbers of a row (of a decimal: its scale), and which rows have a value."""

    name: str
    kind: str
    values: Any
    width: int = 1
    present: Array | None = None


def of_arrays(columns: Iterable[tuple[Any, Any]], may_read: Callable[[str], bool]) -> list[Column]:
    """Each of the columns with their names; of those that nobody reads one without values stands in for what is no column."""
    import numpy as np

    def one_of(name: str, values: Any) -> Column:
        try:
            return column(name, values)
        except _native.Error:
            if may_read(name) or not hasattr(values, "__len__"):
                raise
            return Column(name, "double", np.full(len(values), np.nan), present=np.zeros(len(values), dtype=bool))

    found = (one_of(str(name), values) for name, values in columns)
    # Truth values go over as bytes.
    return [
        one if one.present is None else one._replace(present=np.ascontiguousarray(one.present).view(np.uint8))
        for one in found
    ]


def column(name: str, given: Any) -> Column:
    """The column that an array or a list is."""
    import numpy as np

    if hasattr(given, "detach"):
        # PyTorch's, which may be elsewhere or want gradients.
        given = given.detach().cpu()
    given = _with_gaps(given)
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)) and not hasattr(given, "__array__"):
        array = _of_list(name, given)
    else:
        try:
            array = np.asarray(given)
        except Exception as error:
            # Of who made it: a type that NumPy does not have.
            raise _native.Error(f"the column '{name}' is {type(given).__name__} and no array ({type(error).__name__}: {error})") from error
        if array.ndim == 1 and array.dtype.kind == "O":
            array = _of_list(name, array.tolist())
    present = None
    if isinstance(given, np.ma.MaskedArray):
        array, present = given.data, ~np.ma.getmaskarray(given)
    if array.ndim == 2 and array.dtype.kind in "biuf":
        return _rows(name, array, present)
    if array.ndim == 0:
        raise _native.Error(f"the column '{name}' is {_SHORT.repr(given)}, expected an array or a list with a value for each event")
    if array.ndim != 1:
        shape = list(array.shape)
        if array.ndim == 2:
            raise _native.Error(f"the column '{name}' has the shape {shape} and holds {array.dtype}, expected numbers in its rows")
        raise _native.Error(f"the column '{name}' has the shape {shape}, expected [events] or [events, width]")
    if present is not None and array.dtype.kind == "O":
        array = array.copy()
        array[~present] = None
    found = _of_array(name, array)
    if present is not None:
        there = present if found.present is None else present & found.present
        found = found._replace(present=there)
    return found


def _with_gaps(given: Any) -> Any:
    """A series of pandas, polars or pyarrow in which values are missing, as a list: as an array it has floats."""
    import numpy as np

    dtype: Any = getattr(given, "dtype", None)
    if isinstance(dtype, np.dtype):
        return given
    if getattr(dtype, "tz", None) is not None:
        # Moments of pandas in a zone are so in UTC, and not an object each.
        return np.asarray(given, dtype=f"datetime64[{dtype.unit}]")
    gaps = getattr(given, "hasnans", getattr(given, "null_count", 0))
    if gaps() if callable(gaps) else gaps:
        return given.to_pylist() if hasattr(given, "to_pylist") else given.to_list()
    return given


def _rows(name: str, array: Array, present: Array | None) -> Column:
    """Rows of numbers, in which NaN is a missing one."""
    import numpy as np

    if array.shape[1] == 0:
        raise _native.Error(f"the column '{name}' has rows without a number; leave it out")
    rows = np.array(array, dtype=np.float32, order="C")
    if present is not None:
        rows[~present] = np.nan
    return Column(name, "rows", rows.reshape(-1), rows.shape[1])


def _of_list(name: str, values: Sequence[Any]) -> Array:
    """An array of rows of numbers, of numbers of one type, or of the objects as they are: NumPy makes floats of whole
    numbers among which one is missing, and rounds those beyond 2^53."""
    import numpy as np

    first = next((value for value in values if what_is(value) != "missing"), None)
    if first is not None and _is_row(first):
        return _of_rows(name, values)
    # An array of text would have the longest one's length in each of its rows.
    if what_is(first) in ("bool", "int"):
        try:
            array = np.asarray(values)
        except ValueError:
            # Of no shape; what is no value is told of the objects.
            array = np.empty(0)
        if array.ndim == 1 and array.dtype.kind in "biu":
            return array
    objects = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        objects[row] = value
    return objects


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0 or hasattr(value, "to_list")


def _of_rows(name: str, values: Sequence[Any]) -> Array:
    import numpy as np

    width = next(len(value) for value in values if _is_row(value))
    for row, one in enumerate(values):
        if not hasattr(one, "__len__") or len(one) != width:
            found = f"a list of {len(one)}" if hasattr(one, "__len__") else _SHORT.repr(one)
            expected = f"a list of {width} numbers, as in the other rows"
            raise _native.Error(f"the column '{name}', row {row}: found {found}, expected {expected}")

    def is_masked(one: Any) -> bool:
        return isinstance(one, np.ma.MaskedArray) and one.dtype.kind in "biuf"

    # A masked value is a missing one.
    rows = [np.ma.filled(one.astype(np.float32), np.nan) if is_masked(one) else one for one in values]
    try:
        if np.asarray(rows).dtype.kind not in "biuf":
            _refuse_no_numbers(name, rows)
        return np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise _native.Error(f"the column '{name}': rows hold what is no number ({error})") from None


def _refuse_no_numbers(name: str, rows: Sequence[Any]) -> None:
    """Refuses what NumPy would make numbers of: text, moments."""
    for row, values in enumerate(rows):
        for value in values:
            if what_is(value) not in ("missing", "bool", "int", "float", "decimal"):
                raise _wrong(name, row, value, "a number")


def _of_array(name: str, array: Array) -> Column:
    """Of an array `[events]`."""
    import numpy as np

    def of(kind: str, dtype: Any) -> Column:
        return Column(name, kind, np.ascontiguousarray(array, dtype=dtype))

    match array.dtype.kind:
        case "b":
            return of("bool", np.uint8)
        case "i":
            return of("int", np.int64)
        case "u":
            return of("uint", np.uint64)
        case "f" if array.dtype.itemsize <= 4:
            return of("float", np.float32)
        case "f":
            doubles = of("double", np.float64)
            changed = (doubles.values != array) & ~np.isnan(array)
            if changed.any():
                row = int(changed.argmax())
                raise _wrong(name, row, array[row], "a number that 64 bits hold")
            return doubles
        case "M":
            return _of_moments(name, array)
        case "U":
            return Column(name, "text", array.tolist())
        case "S" | "T" | "O":
            return _of_objects(name, array.tolist())
    raise _native.Error(
        f"the column '{name}' is of type {array.dtype}; expected numbers, truth values, text or datetime64"
    )


def _of_moments(name: str, array: Array) -> Column:
    """Of `datetime64` in any unit; NaT is a missing one."""
    import numpy as np

    unit, count = np.datetime_data(array.dtype)
    finer = unit in ("ps", "fs", "as")
    kind = unit if unit in ("us", "ns") and count == 1 else "ns" if finer or unit in ("us", "ns") else "ms"
    there = ~np.isnat(array)
    moments = array.astype(f"datetime64[{kind}]")
    changed = there & (moments.astype(array.dtype) != array)
    if changed.any():
        row = int(changed.argmax())
        expected = "no part of a nanosecond" if finer else f"a moment that 64 bits hold in {kind}"
        value = int(array[row].view(np.int64))
        raise _native.Error(f"the column '{name}', row {row}: found {value} {unit} since 1970, expected {expected}")
    return Column(name, kind, np.ascontiguousarray(moments).view(np.int64), present=None if there.all() else there)


def _of_objects(name: str, values: list[Any]) -> Column:
    """Of Python's values, all of which are of one kind: `"1"` and 1 would be one node, and so would be text and bytes."""
    import numpy as np

    kinds = [what_is(value) for value in values]
    found = {kind for kind in kinds if kind != "missing"}
    there = np.array([kind != "missing" for kind in kinds], dtype=bool)
    present = None if there.all() else there

    def filled(of: Any, nothing: Any) -> list[Any]:
        return [nothing if kind == "missing" else of(value) for kind, value in zip(kinds, values, strict=True)]

    if not found:
        return Column(name, "double", np.full(len(values), np.nan))
    if found == {"bool"}:
        return Column(name, "bool", np.array(filled(bool, False), dtype=np.uint8), present=present)
    if found <= {"bool", "int"}:
        return _of_integers(name, filled(lambda value: int.__index__(value) if isinstance(value, int) else int(value), 0), present)
    if found <= {"bool", "int", "float"}:
        for row, (kind, value) in enumerate(zip(kinds, values, strict=True)):
            if kind == "int" and abs(int(value)) >= _EXACT:
                raise _wrong(name, row, value, "less than 2^53 among floats, which do not tell larger numbers apart")
            if kind == "float" and float(value) != value:
                raise _wrong(name, row, value, "a number that 64 bits hold")
        return Column(name, "double", np.array(filled(float, np.nan), dtype=np.float64), present=present)
    if found <= {"decimal", "int"}:
        return _of_decimals(name, filled(decimal.Decimal, decimal.Decimal(0)), present)
    if len(found) == 1 and found <= {"text", "bytes", "uuid"}:
        texts = [_text(name, row, value) for row, value in enumerate(filled(lambda value: value, ""))]
        return Column(name, "text", texts, present=present)
    if found == {"moment"}:
        return _of_nanoseconds(name, filled(_nanoseconds, None))
    if "other" in found:
        row = kinds.index("other")
        raise _wrong(name, row, values[row], "numbers, truth values, text, decimals or moments")
    first = next(kind for kind in kinds if kind != "missing")
    row = next(row for row, kind in enumerate(kinds) if kind not in ("missing", first))
    raise _wrong(name, row, values[row], f"{_NAMES.get(first, first)}, as in the rows before")


#: What the kinds of objects and of columns are called.
_NAMES = {
    "bool": "a truth value",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a decimal",
    "uuid": "a UUID",
    **dict.fromkeys(("moment", "ms", "us", "ns"), "a moment"),
}


#: Of most values the type alone tells it, which is several times faster.
_KINDS: dict[type, str] = {
    type(None): "missing",
    bool: "bool",
    int: "int",
    str: "text",
    bytes: "bytes",
    uuid.UUID: "uuid",
    datetime.date: "moment",
    datetime.datetime: "moment",
}


def _wrong(name: str, row: int, value: Any, expected: str) -> Exception:
    kind = type(value).__name__
    return _native.Error(f"the column '{name}', row {row}: found {_SHORT.repr(value)} ({kind}), expected {expected}")


def what_is(value: Any) -> str:
    """What a value of Python's is."""
    if (found := _KINDS.get(type(value))) is not None:
        return found
    import numpy as np

    match value:
        case np.ma.core.MaskedConstant():
            return "missing"
        case bool() | np.bool_():
            return "bool"
        case np.timedelta64():
            # NumPy has it among the integers.
            return "other"
        case int() | np.integer():
            return "int"
        case float() | np.floating():
            return "float" if value == value else "missing"
        case str():
            return "text"
        case bytes():
            return "bytes"
        case uuid.UUID():
            return "uuid"
        case decimal.Decimal():
            return "decimal" if value.is_finite() else "missing" if value.is_nan() else "other"
        case np.datetime64():
            return "missing" if np.isnat(value) else "moment"
    if type(value).__name__ in ("NAType", "NaTType"):
        # pandas'; NaT is a datetime too.
        return "missing"
    return "moment" if isinstance(value, datetime.date) else "other"


def _of_integers(name: str, values: list[int], present: Array | None) -> Column:
    import numpy as np

    least, most = min(values), max(values)
    if least < _LEAST or most > (_MOST if least >= 0 else 2**63 - 1):
        row = values.index(most if most > 2**63 - 1 else least)
        raise _wrong(name, row, values[row], "whole numbers of 64 bits")
    kind, dtype = ("int", np.int64) if most < 2**63 else ("uint", np.uint64)
    return Column(name, kind, np.array(values, dtype=dtype), present=present)


def _of_decimals(name: str, values: list[decimal.Decimal], present: Array | None) -> Column:
    """Whole numbers that stand for themselves divided by 10^scale."""
    exponents = [value.as_tuple().exponent for value in values]
    scale = max([0, *(-exponent for exponent in exponents if isinstance(exponent, int))])
    whole = [int(value.scaleb(scale, context=_DIGITS)) for value in values]
    for row, number in enumerate(whole):
        if scale > 38 or abs(number) >= 10**38:
            raise _wrong(name, row, values[row], "decimals that have 38 digits in all")
    return Column(name, "decimal", whole, scale, present)


def _decimal(whole: int, scale: int) -> decimal.Decimal:
    """What stands for itself divided by 10^scale."""
    return decimal.Decimal(whole).scaleb(-scale, context=_DIGITS)


def _text(name: str, row: int, value: Any) -> str:
    if isinstance(value, str):
        # Of an enum's members this is the value, as everybody else reads it.
        return str.__str__(value)
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _wrong(name, row, value, "text in UTF-8") from None


def _nanoseconds(value: Any) -> int:
    """Since 1970, of a moment or a date; without a zone it is in UTC."""
    import numpy as np

    if isinstance(value, np.datetime64):
        found = _of_moments("time", np.array([value]))
        return int(found.values[0]) * {"ms": 10**6, "us": 10**3, "ns": 1}[found.kind]
    if hasattr(value, "to_datetime64"):
        # pandas', whose zone it takes into account.
        return _nanoseconds(value.to_datetime64())
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    # Not as a moment in UTC, which may be beyond the years that there are.
    offset = value.utcoffset() or datetime.timedelta(0)
    since: datetime.timedelta = value.replace(tzinfo=None) - datetime.datetime(1970, 1, 1) - offset
    return since // datetime.timedelta(microseconds=1) * 1000


def _of_nanoseconds(name: str, values: list[int | None]) -> Column:
    import numpy as np

    coarse = all(value is None or value % 1000 == 0 for value in values)
    factor = 1000 if coarse else 1
    for row, value in enumerate(values):
        if value is not None and not _LEAST < value // factor < 2**63:
            raise _native.Error(f"the column '{name}', row {row}: found {value} ns since 1970, expected a moment that 64 bits hold so")
    there = np.array([value is not None for value in values], dtype=bool)
    whole = np.array([(value or 0) // factor for value in values], dtype=np.int64)
    return Column(name, "us" if coarse else "ns", whole, present=None if there.all() else there)


def refuse_no_utf8(columns: Iterable[Column]) -> None:
    """Refuses text that can't go over."""
    for name, kind, values, *_ in columns:
        for row, text in enumerate(values if kind == "text" else ()):
            utf8(f"the column '{name}', row {row}", text)


#: What ids are asked with.
_IDS = "whole numbers that are not negative, or text"


def ids(what: str, given: Any) -> tuple[bool, Any]:
    """Whether ids that are asked for, the argument `what`, are text, and a list or an array of `uint64`."""
    import numpy as np

    found = _asked(what, given)
    match found.kind:
        case "text":
            return True, found.values
        case "int" | "uint":
            if found.kind == "int" and found.values.size and found.values.min() < 0:
                row = int(found.values.argmin())
                raise _native.Error(f"{what}, row {row}: found the id {found.values[row]}, expected a whole number that is not negative")
            return False, found.values.astype(np.uint64)
        case "decimal":
            one = 10**found.width
            for row, number in enumerate(found.values):
                if number % one or not 0 <= number <= _MOST * one:
                    raise _native.Error(f"{what}, row {row}: found {_decimal(number, found.width)}, expected {_IDS}")
            return False, np.array([number // one for number in found.values], dtype=np.uint64)
        case "float" | "double":
            whole = found.values.astype(np.float64)
            fine = (whole >= 0) & (whole < _EXACT) & (whole == np.floor(whole))
            if fine.all():
                return False, whole.astype(np.uint64)
            row = int((~fine).argmax())
            raise _native.Error(f"{what}, row {row}: found {found.values[row]}, expected {_IDS}")
    raise _native.Error(f"{what}: found {_NAMES.get(found.kind, found.kind)}, expected {_IDS}")


def times(given: Any) -> tuple[str, Any] | None:
    """How times that are asked for are written, and a list or an array; nothing if none is given."""
    import numpy as np

    if given is None:
        return None
    found = _asked("time", given)
    values = found.values
    match found.kind:
        case "int" | "text":
            return found.kind, values
        case "uint":
            if values.size and values.max() >= 2**63:
                raise _native.Error(f"the time {values.max()} is too large")
            return "int", values.astype(np.int64)
        case "float" | "double":
            return "double", values.astype(np.float64)
        case "decimal":
            return "text", [f"{_decimal(value, found.width):f}" for value in values]
        case "ms" | "us" | "ns":
            moments = values.view(f"datetime64[{found.kind}]").astype("datetime64[ns]")
            given = values.view(f"datetime64[{found.kind}]")
            if (moments.astype(given.dtype) != given).any():
                # After 2262 64 bits hold no nanoseconds since 1970.
                return "text", np.datetime_as_string(given, timezone="UTC").tolist()
            return "ns", moments.view(np.int64)
    raise _native.Error(f"time: found {_NAMES.get(found.kind, found.kind)}, expected numbers, moments or text")


def _asked(what: str, given: Any) -> Column:
    """One value or several, none of which may be missing."""
    import numpy as np

    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence) and np.ndim(given) == 0:
        if isinstance(given, Iterable) and not isinstance(given, (str, bytes, np.ndarray)):
            # A set has no order that answers could come in, a generator no length.
            raise _native.Error(f"{what}: found {type(given).__name__}, expected one value, a list or an array")
        given = [given[()] if isinstance(given, np.ndarray) else given]
    if len(given) == 0:
        return Column(what, "text", [])
    found = column(what, given)
    refuse_no_utf8([found])
    if found.kind == "rows":
        raise _native.Error(f"{what}: found rows of numbers, expected one value, a list or an array [pairs]")
    row = None
    if found.present is not None and not found.present.all():
        row = int((~found.present).argmax())
    elif found.kind in ("float", "double") and not np.isfinite(found.values).all():
        row = int((~np.isfinite(found.values)).argmax())
    if row is not None:
        value = list(given)[row]
        value = value.as_py() if hasattr(value, "as_py") else value
        raise _native.Error(f"{what}, row {row}: found {_SHORT.repr(value)}, expected a value for each")
    return found
