"""Digests of values and files; the store, the lock and the image are named by them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from container.progress import Advance

BLOCK = 1 << 20


def sha256_of_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path, advance: Advance = lambda _count: None) -> str:
    """sha256, hexadecimal, of the file's bytes; ``advance`` is called with each block's size."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()
