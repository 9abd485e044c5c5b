"""Files appear whole or not at all, and nothing but a regular file is ever replaced."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from container import atomic
from container.atomic import place, replacing, write_bytes
from container.trouble import Trouble


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with replacing(target) as stream:
        stream.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(target) as stream:
        stream.write(b"new")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for target in (pipe, tmp_path):
        with pytest.raises(Trouble) as caught:
            write_bytes(target, b"new")
        assert str(caught.value) == f"{target}: is not a regular file\n-> name another file"
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    target = tmp_path / "no" / "file"
    with pytest.raises(Trouble) as caught:
        write_bytes(target, b"")
    assert str(caught.value) == (
        f"{target}: there is no folder {tmp_path / 'no'}\n-> make it, or name another"
    )
    (tmp_path / "no").touch()
    with pytest.raises(Trouble) as caught:
        write_bytes(target, b"")
    assert str(caught.value) == f"{target}: {tmp_path / 'no'} is not a folder\n-> name another"


def test_an_error_of_the_disk_names_the_target(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with pytest.raises(OSError) as caught, replacing(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (caught.value.filename, caught.value.errno) == (str(target), errno.ENOSPC)
    assert list(tmp_path.iterdir()) == []


def test_one_of_very_many_files(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "name").symlink_to("real")
    place(b"new", str(tmp_path / "name"), scratch=str(tmp_path / "scratch"), modified_ns=5 * 10**17)
    assert not (tmp_path / "name").is_symlink()
    assert (tmp_path / "name").read_bytes() == b"new"
    assert (tmp_path / "name").stat().st_mtime_ns == 5 * 10**17
    assert (tmp_path / "real").read_bytes() == b"old"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_one_of_very_many_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "folder").mkdir()
    target = str(tmp_path / "folder")
    with pytest.raises(IsADirectoryError) as caught:
        place(b"new", target, scratch=str(tmp_path / "scratch"), modified_ns=0)
    assert (caught.value.errno, caught.value.filename) == (errno.EISDIR, target)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_signal_that_comes_when_a_temporary_file_has_just_been_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the file that tries whether one can be written is left."""
    made = []

    def interrupted(name: Path, target: Path) -> int:
        os.close(new_file(name, target))
        made.append(name)
        raise KeyboardInterrupt

    new_file = atomic._new_file
    monkeypatch.setattr(atomic, "_new_file", interrupted)
    monkeypatch.setattr(os, "O_TMPFILE", 0)  # as on a file system without files that have no name
    for write in (atomic.replacing, atomic.replacing_unnamed, atomic.prepared):
        with pytest.raises(KeyboardInterrupt), write(tmp_path / "x"):
            pass
    assert len(made) == 3
    assert list(tmp_path.iterdir()) == []


def test_trying_whether_a_file_can_be_written_gives_it_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(name: Path, target: Path) -> int:
        raise AssertionError(name)

    monkeypatch.setattr(atomic, "_new_file", unwanted)
    with atomic.prepared(tmp_path / "x"), atomic.replacing_unnamed(tmp_path / "x") as stream:
        stream.write(b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"1"
