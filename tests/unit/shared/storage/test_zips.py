"""ZIPs that are made here, read by Python's own reader."""

from __future__ import annotations

import io
import stat
import zipfile

import pytest

from shared.storage.zips import pack_zip

FILES = {"b/second.txt": b"two" * 100, "a first.bin": b"", "c.txt": b"three"}


@pytest.mark.parametrize("compressed", [True, False])
def test_files_come_out_as_they_went_in_and_may_be_read(compressed: bool) -> None:
    with zipfile.ZipFile(io.BytesIO(pack_zip(FILES.items(), compressed=compressed))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
        assert archive.namelist() == list(FILES)
        for entry in archive.infolist():
            assert stat.S_IMODE(entry.external_attr >> 16) == 0o644
            assert entry.compress_type == (zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED)


def test_the_same_files_make_the_same_bytes() -> None:
    assert pack_zip(FILES.items()) == pack_zip(iter(FILES.items()))
    assert len(pack_zip(FILES.items())) < len(pack_zip(FILES.items(), compressed=False))
