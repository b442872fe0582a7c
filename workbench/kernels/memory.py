"""Memory between the steps of a run. Knows the C library of Linux."""

import ctypes
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Of mallopt(3)."""
AHEAD_BYTES = 64 << 20


def keep_freed() -> bool:
    """Let what a step frees stay with the process for the next one; whether the C library is one that does so, glibc.

    Otherwise activations and gradients are given back to the system in every step and come back a page at a time, each of them
    filled with noughts: full tuning of 135M weights takes half as long again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return all([mallopt(TRIM_THRESHOLD, -1), mallopt(MMAP_MAX, 0), mallopt(TOP_PAD, AHEAD_BYTES)])
