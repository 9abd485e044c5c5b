"""Unpacked images of killed containers: what is removed, and all that is not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List

import pytest

from container import unpacked
from container.unpacked import AccountProcess, dead_folders, remove_left_behind, size_of


@pytest.fixture
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only temporary folder, on a host where nothing else runs."""
    monkeypatch.setattr(unpacked, "own_processes", lambda: iter([]))
    monkeypatch.setattr(unpacked, "tmp_folders", lambda environ: [tmp_path])
    monkeypatch.setattr(unpacked, "sees_all_processes", lambda: True)
    return tmp_path


def unpack(folder: Path, *more: str) -> Path:
    """As Apptainer leaves it: the image's files, some in folders that nobody may write."""
    (folder / "root" / ".singularity.d").mkdir(parents=True)
    (folder / "root" / "bin").mkdir()
    (folder / "root" / "bin" / "sh").write_bytes(b"x" * 5000)
    (folder / "root" / "bin").chmod(0o555)
    (folder / "root" / "lib").symlink_to("/usr/lib")
    for name in more:
        (folder / name).mkdir()
    return folder


def alive(monkeypatch: pytest.MonkeyPatch, *processes: AccountProcess) -> None:
    monkeypatch.setattr(unpacked, "own_processes", lambda: iter(processes))


def test_what_a_killed_container_left_is_removed(tmp: Path) -> None:
    whole = unpack(tmp / "rootfs-882791866", "tmp-rootfs-2419568656")
    begun = tmp / "rootfs-17"
    (begun / "tmp-rootfs-3").mkdir(parents=True)
    assert dead_folders({}) == [begun, whole]
    assert size_of(whole) >= 5000
    assert remove_left_behind({}) == [begun, whole]
    assert list(tmp.iterdir()) == []
    assert Path("/usr/lib").is_dir()


def test_what_only_looks_like_it_stays(tmp: Path) -> None:
    unpack(tmp / "rootfs-1a")
    unpack(tmp / "rootfs-")
    unpack(tmp / "my-rootfs-1")
    unpack(tmp / "rootfs-2", "notes")
    (tmp / "rootfs-3").mkdir()
    (tmp / "rootfs-4" / "root").mkdir(parents=True)
    (tmp / "rootfs-5").write_text("a file")
    (tmp / "rootfs-6").symlink_to(unpack(tmp / "elsewhere"))
    before = sorted(tmp.rglob("*"))
    assert remove_left_behind({}) == []
    assert sorted(tmp.rglob("*")) == before


def test_another_accounts_stay(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpack(tmp / "rootfs-1")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert dead_folders({}) == []


def test_where_not_all_processes_are_seen_nothing_is_removed(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(tmp / "rootfs-1")
    monkeypatch.setattr(unpacked, "sees_all_processes", lambda: False)
    assert remove_left_behind({}) == []


MOUNTED = "431 430 0:51 /tmp/rootfs-{} / ro,nosuid - ext4 /dev/vda rw"


@pytest.mark.parametrize(("process", "stays"), [
    (AccountProcess("starter", MOUNTED.format("12/root")), True),
    (AccountProcess("sleep", MOUNTED.format("12/root")), True),
    (AccountProcess("unsquashfs", MOUNTED.format("12/tmp-rootfs-3")), True),
    (AccountProcess("bash", "/tmp/rootfs-12"), True),
    # It has just made the folder.
    (AccountProcess("apptainer", "apptainer\nexec\n--unsquash\ni.sif"), True),
    (AccountProcess("starter", ""), True),
    (AccountProcess("starter-suid", None), True),
    (AccountProcess("starter", MOUNTED.format("123/root")), False),
    (AccountProcess("starter", "1 2 0:3 / /var/apptainer/mnt/session rw - tmpfs tmpfs rw"), False),
    (AccountProcess("ssh-agent", None), False),
    (AccountProcess("bash", "/home/me/my-rootfs-12"), False),
    (AccountProcess("python3", "python3\nbundle.py"), False),
])  # fmt: skip
def test_what_lives_keeps_it(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, process: AccountProcess, stays: bool
) -> None:
    folder = unpack(tmp / "rootfs-12", "tmp-rootfs-3")
    alive(monkeypatch, AccountProcess("init", ""), process)
    assert dead_folders({}) == ([] if stays else [folder])


def test_real_processes_are_seen_with_what_they_use(tmp_path: Path) -> None:
    folder = unpack(tmp_path / "rootfs-12")
    program = tmp_path / "apptainer"
    shutil.copy(str(shutil.which("sleep")), program)
    with subprocess.Popen([program, "60"], cwd=folder / "root") as child:
        seen = [x for x in unpacked.own_processes() if x.uses and str(folder) in x.uses]
        child.kill()
    assert [x.command for x in seen] == ["apptainer"]
    assert seen[0].may_use(folder) and not seen[0].may_use(tmp_path / "rootfs-1")


def test_a_folder_whose_links_lead_in_a_circle_is_none(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop.name)
    assert loop not in unpacked.tmp_folders({"TMPDIR": str(loop)})


def test_the_folders_are_those_that_the_program_uses(tmp_path: Path) -> None:
    environ: Dict[str, str] = {"TMPDIR": str(tmp_path), "APPTAINER_TMPDIR": "relative"}
    expected: List[Path] = [tmp_path, Path("/tmp").resolve()]
    here = [x for x in expected if unpacked.file_system_of(x) in unpacked.LOCAL_FILE_SYSTEMS]
    assert unpacked.tmp_folders(environ) == here
    assert unpacked.file_system_of(Path("/proc/self")) == "proc"
