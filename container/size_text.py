"""A number of bytes in the words of a message"""

from __future__ import annotations


def size_text(size: int) -> str:
    """Bytes -> ``3.2 GB``, in units of 1000."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size} bytes"
