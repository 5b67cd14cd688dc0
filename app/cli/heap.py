"""What the C library's heap keeps for itself: little, where it can be told so (glibc).

Threads that come and go leave heaps of their own behind, and a start leaves what it was read with;
with 1,000 repositories the two come to a tenth of what the program holds. Elsewhere than on Linux
with glibc nothing is done.
"""

import ctypes
import sys

# From glibc's malloc.h: how many heaps there may be. One at a time runs Python code anyway.
M_ARENA_MAX = -8
MOST_HEAPS = 2


def share_heaps() -> None:
    """Have all threads use few heaps; to be called before they begin."""
    library = _library()
    if library is not None:
        library.mallopt(M_ARENA_MAX, MOST_HEAPS)


def give_back() -> None:
    """Give to the system what is free; takes milliseconds, after a start."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


def _library() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
