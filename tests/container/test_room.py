"""How much room a build takes, told before anything is fetched."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from container import room
from container.cache import Cache
from container.recipe import load_recipe
from container.room import build_room, little_room, room_to_come
from container.store import Store


def test_what_is_stored_is_not_written_again(project: Path, tmp_path: Path) -> None:
    lock, cache = load_recipe(project, "cpu").lock, Cache(tmp_path)
    assert room_to_come(lock, cache) == build_room(lock)
    entry = Store(cache.store).path(lock.python.files[0].sha256)
    entry.parent.mkdir(parents=True)
    entry.touch()
    assert room_to_come(lock, cache) == build_room(lock) - lock.python.files[0].size


def test_little_room_is_told(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, blocks = load_recipe(project, "cuda12").lock, 0

    def statvfs(path: Path) -> SimpleNamespace:
        assert path == tmp_path
        return SimpleNamespace(f_bavail=blocks, f_frsize=1000)

    monkeypatch.setattr(room, "os", SimpleNamespace(**{**vars(os), "statvfs": statvfs}))
    blocks = 3_000_000
    assert little_room(lock, Cache(tmp_path)) == (
        f"{tmp_path}, 3.0 GB free: a build takes about 7.4 GB more; it may end with a full disk"
    )
    blocks = 7_500_000
    assert little_room(lock, Cache(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []
