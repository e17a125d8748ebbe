"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FREE_MANY_SMALL = """
import ctypes
from shared.memory import release_free_memory

def resident_kb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

c = ctypes.CDLL(None)
c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [c.malloc(64_000) for _ in range(1000)]
for block in blocks:
    ctypes.memset(ctypes.c_void_p(block), 1, 64_000)
for block in blocks[:-1]:  # the last one keeps the end of the heap in use
    c.free(block)
before = resident_kb()
release_free_memory()
print(before - resident_kb())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_free_memory_in_the_middle_of_a_heap_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREE_MANY_SMALL], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000
