"""NPY reading against NumPy's own writer, and against files that lie."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from shared.imaging.arrays import HEADER_LIMIT, decode_npy, encode_npy, require_finite
from shared.imaging.signatures import sniff
from shared.problems import Problem

ProblemOf = Callable[[Callable[[], object]], Problem]
LIMIT = 1_000_000


def npy(
    header: str | bytes, data: bytes = b"", *, version: tuple[int, int] = (1, 0), length: int | None = None
) -> bytes:
    """A file with this header, honest or not."""
    text = header if isinstance(header, bytes) else header.encode("latin-1")
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", size) + text + data


def header(descr: str = "'<f4'", order: str = "False", shape: str = "(2, 3)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n"


DTYPES = st.sampled_from(
    ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "|i1", "<i2", ">i4", "<i8", "|u1", ">u2", "<u8", "|b1"]
)
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, max_side=5)


@given(
    dtype=DTYPES, shape=SHAPES, fortran=st.booleans(), version=st.sampled_from([(1, 0), (2, 0), (3, 0)]), data=st.data()
)
def test_reads_what_numpy_writes(
    dtype: str, shape: tuple[int, ...], fortran: bool, version: tuple[int, int], data: st.DataObject
) -> None:
    array = data.draw(npst.arrays(np.dtype(dtype), shape))
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array, order="F" if fortran else "C"), version=version)
    decoded = decode_npy(stream.getvalue(), limit_elements=LIMIT)
    np.testing.assert_array_equal(decoded, array)
    assert decoded.dtype == np.dtype(dtype).newbyteorder("=")
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable


@given(npst.arrays(np.float32, npst.array_shapes(max_dims=3, max_side=6)))
def test_encoding_and_decoding_is_the_identity(array: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    np.testing.assert_array_equal(decode_npy(encode_npy(array), limit_elements=LIMIT), array)


def test_numpy_reads_what_is_encoded() -> None:
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(np.load(io.BytesIO(encode_npy(array)), allow_pickle=False), array)


def test_objects_are_not_encoded() -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        encode_npy(np.array([object()]))


def test_truncation_at_every_length_is_a_problem() -> None:
    whole = encode_npy(np.arange(6, dtype=np.float32).reshape(2, 3))
    for length in range(len(whole)):
        with pytest.raises(Problem) as caught:
            decode_npy(whole[:length], limit_elements=LIMIT)
        assert caught.value.status == (422 if sniff(whole[:length]) else 415)


def test_missing_bytes_are_counted(problem_of: ProblemOf) -> None:
    whole = encode_npy(np.zeros((10, 10), np.float32))
    problem = problem_of(lambda: decode_npy(whole[:-8], limit_elements=LIMIT, pointer="/body/sinogram"))
    assert (problem.status, problem.errors[0].pointer) == (422, "/body/sinogram")
    assert "10x10 float32, 400 bytes" in problem.detail
    assert "392 bytes" in problem.detail


def test_bytes_behind_the_array_are_refused(problem_of: ProblemOf) -> None:
    problem = problem_of(lambda: decode_npy(encode_npy(np.zeros(4)) + b"\x00", limit_elements=LIMIT))
    assert "bytes behind the array" in problem.detail


@pytest.mark.parametrize(
    "bomb",
    [
        npy(header(shape="(50000, 50000)")),
        npy(header(shape=f"({2**62}, {2**62})")),
        npy(header(), version=(2, 0), length=4_000_000_000),
        npy(header(), version=(3, 0), length=HEADER_LIMIT + 1),
        npy(b" " * 60_000, length=60_000),
    ],
    ids=["10 GB", "beyond 64 bits", "4 GB of header", "just too long a header", "60 kB of header"],
)
def test_bombs_are_refused_without_allocating(bomb: bytes, problem_of: ProblemOf) -> None:
    tracemalloc.start()
    try:
        problem = problem_of(lambda: decode_npy(bomb, limit_elements=LIMIT))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert problem.status == 413
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "descr",
    ["'|O'", "'<c8'", "'<c16'", "'<f16'", "'|S4'", "'<U4'", "'<M8[s]'", "'|V8'", "[('a', '<f4')]", "'f4,f4'", "4",
     "None", "'<i3'", "'|f1'", "'__import__'"],
)  # fmt: skip
def test_other_dtypes_are_refused(descr: str, problem_of: ProblemOf) -> None:
    problem = problem_of(lambda: decode_npy(npy(header(descr), b"\x00" * 24), limit_elements=LIMIT))
    assert problem.status == 422
    assert "dtype" in problem.detail


@pytest.mark.parametrize(
    "text",
    [
        header(shape="[2, 3]"), header(shape="(-2, -3)"), header(shape="(True, 6)"), header(shape="(2.0, 3)"),
        header(shape="6"), header(shape="(1,) * 9**9"), header(shape=f"({'1, ' * 33})"), header(shape=f"({10**30},)"),
        header(order="0"), header(order="'no'"), "{}", "[]", "", "x", "{'descr': '<f4'}", "\x00", "(" * 300, "{{}: 1}",
        header().replace("}", ", 'more': 1}"), "'\\d'", "-" * 5000 + "1", "9" * 5000, "1if 1else 2",
        "__import__('os').system('true')",
    ],
)  # fmt: skip
def test_damaged_headers_are_named(text: str, problem_of: ProblemOf) -> None:
    assert problem_of(lambda: decode_npy(npy(text, b"\x00" * 24), limit_elements=LIMIT)).status == 422


def test_other_versions_are_refused(problem_of: ProblemOf) -> None:
    assert "version" in problem_of(lambda: decode_npy(npy(header(), version=(4, 0)), limit_elements=LIMIT)).detail


def test_dimensions_are_checked(problem_of: ProblemOf) -> None:
    cube = encode_npy(np.zeros((2, 2, 2), np.float32))
    assert decode_npy(cube, limit_elements=LIMIT, dimensions=(2, 3)).ndim == 3
    problem = problem_of(lambda: decode_npy(cube, limit_elements=LIMIT, dimensions=(1, 2)))
    assert problem.detail == "The array has 3 dimensions; 1 or 2 are needed."


def test_empty_arrays_are_refused(problem_of: ProblemOf) -> None:
    assert "empty" in problem_of(lambda: decode_npy(encode_npy(np.zeros((0, 3))), limit_elements=LIMIT)).detail


def test_the_element_limit_is_inclusive(problem_of: ProblemOf) -> None:
    data = encode_npy(np.zeros((10, 10), np.uint8))
    assert decode_npy(data, limit_elements=100).size == 100
    assert problem_of(lambda: decode_npy(data, limit_elements=99)).status == 413


def test_pickles_are_never_loaded(problem_of: ProblemOf) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert problem_of(lambda: decode_npy(stream.getvalue(), limit_elements=LIMIT)).status == 422


def test_booleans_that_are_neither_become_true() -> None:
    decoded = decode_npy(npy(header("'|b1'", shape="(3,)"), b"\x00\x01\x07"), limit_elements=LIMIT)
    assert decoded.tolist() == [False, True, True]
    assert decoded.view(np.uint8).tolist() == [0, 1, 1]


@given(st.binary(max_size=300), st.sampled_from([(1, 0), (2, 0), (3, 0)]), st.integers(0, 2**16 - 1) | st.none())
@example(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}" + b"\x00" * 24, (1, 0), 57)
def test_fuzzed_headers_raise_problems_only(body: bytes, version: tuple[int, int], length: int | None) -> None:
    with contextlib.suppress(Problem):
        decode_npy(npy(body, version=version, length=length), limit_elements=LIMIT)


@given(st.text("{}()[]'\",:<>=|fiub0123456789descrfortran_odhape TrueFalse\n", max_size=120))
def test_fuzzed_literals_raise_problems_only(text: str) -> None:
    with contextlib.suppress(Problem):
        decode_npy(npy(text, b"\x00" * 24), limit_elements=LIMIT)


def test_finite_arrays_pass() -> None:
    require_finite(np.zeros((3, 3), np.float32))
    require_finite(np.zeros((3, 3), np.int16))


def test_values_that_are_not_finite_are_counted_and_placed(problem_of: ProblemOf) -> None:
    array = np.zeros((4, 5), np.float32)
    array[1, 3], array[2, 0], array[3, 4] = np.nan, np.inf, -np.inf
    problem = problem_of(lambda: require_finite(array, pointer="/body/reference"))
    assert problem.errors[0].pointer == "/body/reference"
    assert problem.detail == "3 of 20 values are not finite (1 NaN, 2 infinite); the first is at index [1, 3]."
