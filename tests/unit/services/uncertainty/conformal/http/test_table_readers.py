"""Tables out of files: the same numbers whatever the format, and a word about each fault."""

from __future__ import annotations

import io
import tempfile
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.uncertainty.conformal.http.table_readers import WITHOUT_PARQUET, TableFile, read_numbers
from services.uncertainty.conformal.http.text_readers import read_texts
from shared.problems import ContentTooLarge, Problem, UnprocessableContent, UnsupportedMediaType
from tests.support.capability import npy

TABLE = np.array([[1.5, -2.0, 3e10], [0.0, 7.25, -1e-5]])


def file(content: bytes) -> TableFile:
    return TableFile(io.BytesIO(content), len(content), "/body/x")


def csv(array: NDArray[Any], *, header: str = "") -> bytes:
    lines = [",".join(repr(float(one)) for one in row) for row in array]
    return (header + "\n".join(lines)).encode()


@pytest.mark.parametrize("header", ["", "a,b,c\n", '"a","b","c"\n', "\ufeffa,b,c\n", "\ufeff"])
def test_csv(header: str) -> None:
    np.testing.assert_array_equal(read_numbers(file(csv(TABLE, header=header)), dimensions=2, limit=6), TABLE)


def test_a_large_npy_is_mapped_and_not_copied() -> None:
    array = np.arange(400_000, dtype=np.float32).reshape(400, 1000)
    with tempfile.TemporaryFile() as stream:
        stream.write(npy(array))
        stream.seek(0)
        found = read_numbers(TableFile(cast("Any", stream), 1_600_128, "/body/x"), dimensions=2, limit=400_000)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.float32
    assert not found.flags.owndata
    assert not found.flags.writeable


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i8", "|u1"])
def test_npy_types(dtype: str) -> None:
    found = read_numbers(file(npy(np.array([[1, 2], [3, 4]]).astype(dtype))), dimensions=2, limit=4)
    np.testing.assert_array_equal(found, [[1, 2], [3, 4]])
    assert found.dtype.isnative


def test_a_column_is_a_vector() -> None:
    for content in (npy(np.ones((3, 1))), npy(np.ones(3)), b"1\n1\n1\n", b"label\n1\n1\n1"):
        np.testing.assert_array_equal(read_numbers(file(content), dimensions=1, limit=3), np.ones(3))


def test_texts() -> None:
    assert read_texts(file(b'left\n"right"\nleft\n'), limit=3) == ["left", "right", "left"]
    assert read_texts(file(npy(np.array([3, 4]))), limit=3) == ["3", "4"]
    with pytest.raises(UnprocessableContent, match="commas"):
        read_texts(file(b"a,b\n"), limit=3)
    with pytest.raises(ContentTooLarge):
        read_texts(file(b"a\nb\n"), limit=1)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", UnprocessableContent, "empty"),
        (b"1,2\n3\n", UnprocessableContent, "CSV"),
        (b"1,2\n3,\n", UnprocessableContent, "CSV"),
        (npy(np.zeros((0, 3))), UnprocessableContent, "empty"),
        (npy(np.zeros((2, 3)))[:-1], UnprocessableContent, "cut off"),
        (npy(np.zeros((2, 3), complex)), UnprocessableContent, "dtype"),
        (npy(np.zeros((3, 3))), ContentTooLarge, "at most 6"),
        (csv(np.zeros((3, 3))), ContentTooLarge, "at most 6"),
        (b"\x80\x04K\x01.", UnsupportedMediaType, "pickle"),
        (b"PK\x03\x04", UnsupportedMediaType, "ZIP"),
        (b'{"a": 1}', UnsupportedMediaType, "JSON"),
        (b"1,2\x00", UnsupportedMediaType, "not NPY"),
    ],
)
def test_what_is_no_table(content: bytes, kind: type[Problem], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        read_numbers(file(content), dimensions=2, limit=6)
    assert caught.value.errors[0].pointer == "/body/x"


@given(st.binary(max_size=300))
def test_any_bytes_are_numbers_or_a_problem(content: bytes) -> None:
    for start in (b"", b"\x93NUMPY", b"1,2\n"):
        try:
            found = read_numbers(file(start + content), dimensions=2, limit=100)
        except Problem as problem:
            assert 400 <= problem.status < 500
        else:
            assert found.ndim == 2


def test_parquet_without_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UnsupportedMediaType) as caught:
        read_numbers(file(b"PAR1 PAR1"), dimensions=2, limit=6)
    assert caught.value.detail == WITHOUT_PARQUET
