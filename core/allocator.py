"""How the C library treats freed memory."""

import ctypes
import sys

MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = -4, -3, -1  # numbers of these options in glibc's malloc.h


def keep_freed_memory(block: int = 256 << 20) -> None:
    """Let this process keep freed memory for its next allocation; for commands, which own their process.

    By default glibc gives blocks above 32 MB back to the system, and also what lies free at the end of its heap. A
    network asks for the same maps again and again, and every fresh page then costs a fault: on a virtual machine more
    time than the computation itself. The peak grows by about a tenth. Does nothing where the C library is not glibc.

    Args:
        block: bytes; larger blocks still go back at once, except in an old glibc, which refuses such a threshold.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return
    if not mallopt(MMAP_THRESHOLD, block):
        mallopt(MMAP_MAX, 0)
    mallopt(TRIM_THRESHOLD, 2**31 - 1)
