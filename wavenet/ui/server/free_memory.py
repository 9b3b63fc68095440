"""Return memory to the system after each job, so that a studio that runs for hours stays small.

glibc keeps freed memory in one heap per thread, and keeps large blocks for later use; the jobs of a
studio run in many threads. Other systems are unaffected. Called by `studio_app` and `turns`.
"""

import ctypes
import gc
from contextlib import suppress

# Parameters of mallopt(3).
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
MAX_HEAPS = 2
# Bytes; larger blocks are returned as soon as they are freed. A fixed value: glibc would raise it.
LARGE_BLOCK = 1 << 20


def limit_heaps() -> None:
    """Use few heaps for all threads, and return large blocks at once."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_ARENA_MAX, MAX_HEAPS)
        libc.mallopt(_MMAP_THRESHOLD, LARGE_BLOCK)


def release_memory() -> None:
    """Return the free parts of all heaps to the system."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
