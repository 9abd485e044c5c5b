"""Freed memory stays with the process: the next step takes it again."""

from __future__ import annotations

import ctypes

#: Of <malloc.h>.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Tell glibc's malloc not to give arrays back to the kernel when they are freed.

    By default it does with all above 32 MB, and the kernel then clears the same pages anew for the
    next step: a sixth of the time of a step of resnet50 with 32 images. No bit depends on it, and
    a step needs as much memory as before. Nothing happens where there is no such malloc.
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    if adjust is not None:
        adjust(M_MMAP_MAX, 0)
        adjust(M_TRIM_THRESHOLD, NEVER)
