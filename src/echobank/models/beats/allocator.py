"""Page faults cost a batch as much as arithmetic: keep large blocks in the process instead of giving them back."""

import ctypes
import ctypes.util

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_BYTES = 1 << 30


def keep_memory() -> bool:
    """Have glibc reuse blocks below 1 GiB; call it once, at the start of a program.

    Results do not change. Returns whether it took effect: elsewhere than on glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(ctypes.util.find_library("c")).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return all(mallopt(option, _BYTES) == 1 for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD))
