"""Folders that are written to: facts in, the whole finding out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from container.recipe import load_recipe
from container.room import build_room, gb
from manifests.doctor.folder import (
    WritableFolder,
    cache_finding,
    clock_finding,
    out_finding,
    shared_memory_finding,
    tmp_finding,
    unpacked_finding,
)
from manifests.doctor.looking import look_at_scratch
from manifests.host.finding import (
    fail,
    ok,
    warn,
)

ASK = "ask your administrator"


CACHE = WritableFolder(Path("/home/u/.cache/bundle"), free=3 * 10**9, skew=0.0)
ELSEWHERE = "free some space there, or choose another folder by BUNDLE_CACHE"


def test_a_cache_with_room_for_what_is_to_come() -> None:
    found = ok("/home/u/.cache/bundle, 3.0 GB free")
    assert cache_finding(CACHE, 3 * 10**9) == found
    assert cache_finding(CACHE, 12 * 10**9) == warn(
        "/home/u/.cache/bundle, 3.0 GB free: a build takes about 12.0 GB more", ELSEWHERE
    )


@pytest.mark.parametrize(("stack", "room"), [("cpu", "0.8 GB"), ("cuda12", "7.4 GB")])
def test_a_build_takes_so_much(stack: str, room: str) -> None:
    """Measured with du while it was built, and what the pages say."""
    project = Path(__file__).resolve().parents[3]
    lock = load_recipe(project, stack).lock
    assert gb(build_room(lock)) == room
    fetched = f"{sum(file.size for file in lock.all_files) / 1e9:.2f} GB"
    page = (project / "docs/image.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{stack}`")]
    assert line.endswith(f"| {fetched} | {room} |")
    for name in ("README.md", "docs/doctor.md"):
        assert room in (project / name).read_text(encoding="utf-8")


def test_a_full_disk() -> None:
    full = WritableFolder(CACHE.path, "cannot be written: No space left on device")
    assert cache_finding(full, 1) == fail(
        "/home/u/.cache/bundle: cannot be written: No space left on device", ELSEWHERE
    )
    assert clock_finding(full).state == "warn"
    assert out_finding([full, CACHE]) == warn(
        "/home/u/.cache/bundle: cannot be written: No space left on device",
        "free space or restore its mode before the next run there",
    )
    advice = "set TMPDIR to a folder that you may write"
    assert tmp_finding(full) == warn(
        "/home/u/.cache/bundle: cannot be written: No space left on device: jobs use /tmp", advice
    )
    assert tmp_finding(replace(full, path=Path("/tmp"))) == fail(
        "/tmp: cannot be written: No space left on device", advice
    )


@pytest.mark.parametrize(("skew", "where"), [(-61.0, "61 s behind"), (4.0, "4 s ahead of")])
def test_clocks_that_differ(skew: float, where: str) -> None:
    assert clock_finding(replace(CACHE, skew=skew)) == warn(
        f"times of files in /home/u/.cache/bundle are {where} this host's clock",
        f"{ASK} to set the clocks (NTP); times in logs cannot be compared",
    )


@pytest.mark.parametrize("skew", [-2.0, -0.004, 0.0, 2.5])
def test_clocks_that_agree(skew: float) -> None:
    assert clock_finding(replace(CACHE, skew=skew)).state == "ok"


def test_a_cache_that_nobody_has_made_yet_is_no_trouble() -> None:
    """Of a new account: its first build or submit makes it."""
    new = replace(CACHE, skew=None)
    assert clock_finding(new) == ok("not compared: /home/u/.cache/bundle is not there yet")


def test_out_folders() -> None:
    small = WritableFolder(Path("/scratch/runs"), free=5 * 10**8)
    assert out_finding([]) == ok("no run was submitted from this account yet")
    assert out_finding([CACHE]) == ok("1 known, 3.0 GB free or more (/home/u/.cache/bundle)")
    assert out_finding([CACHE, small]) == warn(
        "/scratch/runs: only 0.5 GB free",
        "delete runs or checkpoints that nobody needs, or choose another `out`",
    )


def test_tmpdir() -> None:
    assert tmp_finding(WritableFolder(Path("/tmp"), free=2 * 10**9)) == ok("/tmp, 2.0 GB free")
    assert tmp_finding(WritableFolder(Path("/tmp"), free=10**8)).state == "warn"
    assert tmp_finding(WritableFolder(Path("tmp"), free=2 * 10**9)) == warn(
        "TMPDIR is 'tmp', no absolute path: jobs run as if it were not set",
        "unset TMPDIR, or give the whole path",
    )


def test_shared_memory() -> None:
    docker = WritableFolder(Path("/dev/shm"), free=64 * 1024**2)
    assert shared_memory_finding(docker, cores=16).state == "ok"
    assert shared_memory_finding(docker, cores=48) == warn(
        "/dev/shm: 67 MB free, and MPI takes up to 201 MB for 48 ranks",
        f"{ASK} for a larger /dev/shm (in Docker: --shm-size=1g)",
    )


def test_what_a_killed_container_left_is_named() -> None:
    assert unpacked_finding([], 0) == ok("nothing was left by a container that was killed")
    left = [Path("/tmp/rootfs-1"), Path("/scratch/rootfs-2")]
    assert unpacked_finding(left, 966 * 10**6) == warn(
        "/tmp/rootfs-1, /scratch/rootfs-2: left by a container that was killed, 1.0 GB",
        "the next start of a run on this host removes it",
    )


def test_a_scratch_folder_that_is_not_there_is_made_by_nobody(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert look_at_scratch(gone) == WritableFolder(gone, "is not a folder")
    assert look_at_scratch(tmp_path).problem == ""
    assert list(tmp_path.iterdir()) == []
