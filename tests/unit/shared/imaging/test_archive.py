"""ZIP uploads: order, names, and archives that are not what they say."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.imaging.archive import Archive, ArchiveLimits, natural_key, read_archive
from shared.imaging.signatures import sniff
from shared.problems import Problem

ProblemOf = Callable[[Callable[[], object]], Problem]


def archive(files: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as target:
        for name, data in files.items() if isinstance(files, dict) else files:
            target.writestr(name, data)
    return stream.getvalue()


def test_files_come_in_natural_order() -> None:
    names = ["slice10.dcm", "slice2.dcm", "a/slice1.dcm", "Slice3.dcm"]
    entries = read_archive(archive({name: name.encode() for name in names}))
    assert [entry.name for entry in entries] == ["a/slice1.dcm", "slice2.dcm", "Slice3.dcm", "slice10.dcm"]
    assert all(entry.data == entry.name.encode() for entry in entries)


@given(st.lists(st.text("ab19.", max_size=6)))
def test_natural_keys_can_always_be_compared(names: list[str]) -> None:
    assert sorted(names, key=natural_key) is not None


def test_folders_and_clutter_are_skipped() -> None:
    data = archive(
        {
            "folder/": b"",
            "a.npy": b"1",
            "__MACOSX/._a.npy": b"x",
            ".DS_Store": b"x",
            "DICOMDIR": b"x",
            "b/Thumbs.db": b"x",
        }
    )
    assert [entry.name for entry in read_archive(data)] == ["a.npy"]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("../../etc/passwd", "etc/passwd"), ("/abs/x", "abs/x"), ("C:\\scans\\x.dcm", "scans/x.dcm"),
        ("a\nb", "a_b"), ("./x", "x"), ("..", "unnamed"), ("x" * 500, "x" * 200),
    ],
)  # fmt: skip
def test_names_are_harmless(name: str, clean: str) -> None:
    assert [entry.name for entry in read_archive(archive({name: b"1"}))] == [clean]


def test_names_that_become_the_same_are_refused(problem_of: ProblemOf) -> None:
    problem = problem_of(lambda: read_archive(archive({"a/x": b"1", "../a/x": b"2"})))
    assert "'a/x' twice" in problem.detail


def test_entries_are_counted(problem_of: ProblemOf) -> None:
    data = archive({f"{index}": b"1" for index in range(6)})
    problem = problem_of(lambda: read_archive(data, ArchiveLimits(entries=5), pointer="/body/series"))
    assert (problem.status, problem.errors[0].pointer) == (413, "/body/series")
    assert "6 entries; at most 5" in problem.detail


def test_a_million_entries_are_not_even_listed(problem_of: ProblemOf) -> None:
    data = archive({}) + b"PK\x01\x02" * 10_000
    problem = problem_of(lambda: read_archive(data, ArchiveLimits(entries=5)))
    assert "more than 5 entries" in problem.detail


def test_one_entry_is_bounded(problem_of: ProblemOf) -> None:
    data = archive({"small": b"x", "large": b"x" * 1001})
    problem = problem_of(lambda: read_archive(data, ArchiveLimits(entry_bytes=1000)))
    assert problem.status == 413
    assert "'large'" in problem.detail
    assert len(read_archive(data, ArchiveLimits(entry_bytes=1001))) == 2


def test_the_sum_is_bounded(problem_of: ProblemOf) -> None:
    data = archive({"a": b"x" * 600, "b": b"y" * 600})
    problem = problem_of(lambda: read_archive(data, ArchiveLimits(total_bytes=1000)))
    assert problem.status == 413
    assert "'b'" in problem.detail


def test_bombs_are_refused(problem_of: ProblemOf) -> None:
    bomb = archive({"bomb": b"\x00" * 20_000_000})
    assert len(bomb) < 30_000
    problem = problem_of(lambda: read_archive(bomb))
    assert problem.status == 413
    assert "200 times" in problem.detail


def test_small_slices_of_air_are_no_bombs() -> None:
    air = bytes(2_000_000)
    assert read_archive(archive({"air": air}))[0].data == air


def test_sizes_in_headers_are_not_trusted(problem_of: ProblemOf) -> None:
    honest = archive({"bomb": b"\x00" * 3_000_000})
    lying = honest.replace(struct.pack("<I", 3_000_000), struct.pack("<I", 10))
    problem = problem_of(lambda: read_archive(lying, ArchiveLimits(entry_bytes=1000)))
    assert problem.status in {413, 422}


def test_nested_archives_are_refused(problem_of: ProblemOf) -> None:
    for inner in (archive({"x": b"1"}), b"\x1f\x8b\x08" + bytes(20), b"7z\xbc\xaf\x27\x1c" + bytes(20)):
        problem = problem_of(lambda inner=inner: read_archive(archive({"inner": inner})))  # type: ignore[misc]
        assert problem.status == 422
        assert "'inner' is itself an archive" in problem.detail


def test_encrypted_entries_are_refused(problem_of: ProblemOf) -> None:
    data = bytearray(archive({"secret.dcm": b"1"}, zipfile.ZIP_STORED))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert "'secret.dcm' is encrypted" in problem_of(lambda: read_archive(bytes(data))).detail


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused(method: int, problem_of: ProblemOf) -> None:
    assert "use store or deflate" in problem_of(lambda: read_archive(archive({"x": b"1" * 100}, method))).detail


def test_links_are_refused(problem_of: ProblemOf) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        target.writestr(link, "/etc/passwd")
    assert "symbolic link" in problem_of(lambda: read_archive(stream.getvalue())).detail


def test_a_damaged_entry_is_named(problem_of: ProblemOf) -> None:
    content = bytes(range(256))
    data = archive({"ok": b"1", "bad": content}, zipfile.ZIP_STORED).replace(content, content[::-1])
    assert zlib.crc32(content) != zlib.crc32(content[::-1])
    assert "'bad' is cut off or damaged" in problem_of(lambda: read_archive(data)).detail


def test_truncation_at_every_length_is_a_problem() -> None:
    whole = archive({"a": b"1" * 50, "b": b"2" * 50})
    for length in range(len(whole)):
        with pytest.raises(Problem) as caught:
            read_archive(whole[:length])
        assert caught.value.status == (422 if sniff(whole[:length]) else 415)


def test_empty_archives_are_refused(problem_of: ProblemOf) -> None:
    assert "holds no files" in problem_of(lambda: read_archive(archive({}))).detail


def test_files_are_inflated_when_they_are_asked_for(problem_of: ProblemOf) -> None:
    content = bytes(range(256))
    data = archive({"ok": b"12345", "bad": content}, zipfile.ZIP_STORED).replace(content, content[::-1])
    opened = Archive(data)
    assert opened.names == ("bad", "ok")
    assert (opened.read("ok"), opened.read_start("ok", 3), opened.read_start("ok", 9)) == (b"12345", b"123", b"12345")
    assert "'bad' is cut off or damaged" in problem_of(lambda: opened.read("bad")).detail
    with pytest.raises(KeyError):
        opened.read("../ok")


def test_each_file_counts_once_in_the_sum(problem_of: ProblemOf) -> None:
    opened = Archive(archive({"a": b"x" * 600, "b": b"y" * 600}), ArchiveLimits(total_bytes=1000))
    assert opened.read("a") == opened.read("a")
    assert "more than 1000 bytes, at 'b'" in problem_of(lambda: opened.read("b")).detail


@given(st.data())
def test_damaged_archives_raise_problems_only(data: st.DataObject) -> None:
    whole = bytearray(archive({"a/1.npy": b"1" * 40, "a/2.npy": bytes(range(40))}))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Problem):
        read_archive(bytes(whole))
