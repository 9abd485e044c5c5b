"""Folders that runs were submitted to from this account, remembered in the cache."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import List

from container.cache import Cache
from container.reachable import folder_here
from container.trouble import Trouble
from manifests.rundir.records import Warn, ignore


def remember_out(cache: Cache, out: Path, warn: Warn = ignore) -> None:
    """Note that runs lie below ``out``, one small file each: no file that two submits share.

    It only remembers: whatever goes wrong is a warning.
    """
    from container import atomic
    from container.digest import sha256_of_bytes

    folder = cache.root / "outs"
    note = folder / sha256_of_bytes(str(out).encode("utf-8", "surrogateescape"))[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not note.exists():
            atomic.write_bytes(note, f"{out}\n".encode("utf-8", "surrogateescape"))
    except (OSError, Trouble) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        warn(f"{note}: cannot be written: {why}; `list` shows these runs by: list {out}")


def known_outs(cache: Cache) -> List[Path]:
    """Those that are there now; a note that cannot be read counts as none."""
    return [path for path in noted_outs(cache) if folder_here(path)]


def noted_outs(cache: Cache) -> List[Path]:
    """All that were ever submitted to, whether they are there or not."""
    texts: List[str] = []
    with suppress(OSError):
        for note in sorted((cache.root / "outs").glob("[0-9a-f]*")):
            with suppress(OSError):
                texts.append(note.read_text(errors="surrogateescape").rstrip("\n"))
    return sorted(set(map(Path, filter(None, texts))))
