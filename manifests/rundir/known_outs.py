"""Folders that runs were submitted to from this account, remembered in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import List

from container import atomic
from container.cache import Cache
from container.digest import sha256_of_bytes


def remember_out(cache: Cache, out: Path) -> None:
    """Note that runs lie below ``out``, one small file each: no file that two submits share."""
    folder = cache.root / "outs"
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / sha256_of_bytes(str(out).encode("utf-8", "surrogateescape"))[:16]
    if not note.exists():
        atomic.write_bytes(note, f"{out}\n".encode("utf-8", "surrogateescape"))


def known_outs(cache: Cache) -> List[Path]:
    notes = sorted((cache.root / "outs").glob("[0-9a-f]*"))
    texts = (note.read_text(errors="surrogateescape").rstrip("\n") for note in notes)
    return sorted(path for path in map(Path, texts) if path.is_dir())
