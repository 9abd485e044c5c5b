"""Folders that are written to: can they be, how much goes in, and whose clock stamps the files?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from container.room import gb, room_fault
from manifests.host.finding import Finding, fail, ok, together, warn

#: Some checkpoints of the largest network, of 0.5 GB each: AlexNet's 61 million parameters and
#: momenta in float32.
LEAST_OUT = 2 * 10**9
#: `exec --unsquash` unpacks an image there, MPI keeps its sockets there.
LEAST_TMP = 10**9
#: Open MPI 4.1's btl_vader_segment_size, for each rank of a node (`ompi_info --param btl vader`).
SEGMENT = 4 * 1024**2
#: Seconds; file systems stamp in steps of up to 2 s (FAT), networks answer in less.
CLOCKS_AGREE = 3.0


@dataclass(frozen=True)
class WritableFolder:
    """A folder in which a small file was written and removed.

    ``problem`` says why that could not be, ``free`` (bytes) is what this account may still fill,
    ``skew`` (seconds) how far the file's time was ahead of this host's clock.
    """

    path: Path
    problem: str = ""
    free: int = 0
    skew: Optional[float] = None


def cache_finding(cache: WritableFolder, needed: int) -> Finding:
    """``needed``: bytes that are still to be written."""
    advice = "free some space there, or choose another folder by BUNDLE_CACHE"
    if cache.problem:
        return fail(f"{cache.path}: {cache.problem}", advice)
    found = f"{cache.path}, {gb(cache.free)} free"
    fault = room_fault(cache.free, needed)
    return ok(found) if fault is None else warn(f"{found}: {fault}", advice)


def clock_finding(cache: WritableFolder) -> Finding:
    """The file system's clock is another host's where it comes over a network."""
    if cache.skew is None and not cache.problem:
        return ok(f"not compared: {cache.path} is not there yet")
    if cache.skew is None:
        return warn(
            f"cannot be compared: nothing can be written in {cache.path}",
            "see the check of the cache",
        )
    if abs(cache.skew) > CLOCKS_AGREE:
        where = "ahead of" if cache.skew > 0 else "behind"
        return warn(
            f"times of files in {cache.path} are {abs(cache.skew):.0f} s {where} this host's clock",
            "ask your administrator to set the clocks (NTP); times in logs cannot be compared",
        )
    return ok(f"times of files in {cache.path} agree with this host's clock")


def out_finding(folders: Sequence[WritableFolder]) -> Finding:
    """On the folders that runs of this account were written to."""
    if not folders:
        return ok("no run was submitted from this account yet")
    findings = []
    for folder in folders:
        if folder.problem:
            advice = "free space or restore its mode before the next run there"
            findings.append(warn(f"{folder.path}: {folder.problem}", advice))
        elif folder.free < LEAST_OUT:
            advice = "delete runs or checkpoints that nobody needs, or choose another `out`"
            findings.append(warn(f"{folder.path}: only {gb(folder.free)} free", advice))
    least = min(folders, key=lambda folder: folder.free)
    return together(findings, f"{len(folders)} known, {gb(least.free)} free or more ({least.path})")


#: What jobs use where TMPDIR is of no use (jobtemplates/scripts/scratch.sh).
INSTEAD = Path("/tmp")


def tmp_finding(tmp: WritableFolder) -> Finding:
    if not tmp.path.is_absolute():
        return warn(
            f"TMPDIR is {str(tmp.path)!r}, no absolute path: jobs run as if it were not set",
            "unset TMPDIR, or give the whole path",
        )
    advice = "set TMPDIR to a folder that you may write"
    if tmp.problem and tmp.path != INSTEAD:
        return warn(f"{tmp.path}: {tmp.problem}: jobs use {INSTEAD}", advice)
    if tmp.problem:
        return fail(f"{tmp.path}: {tmp.problem}", advice)
    if tmp.free < LEAST_TMP:
        return warn(
            f"{tmp.path}: only {gb(tmp.free)} free", "free some space, or set TMPDIR to another"
        )
    return ok(f"{tmp.path}, {gb(tmp.free)} free")


def unpacked_finding(left: Sequence[Path], size: int) -> Finding:
    """On images that killed containers left unpacked; ``size`` in bytes."""
    if not left:
        return ok("nothing was left by a container that was killed")
    names = ", ".join(str(folder) for folder in left)
    return warn(
        f"{names}: left by a container that was killed, {gb(size)}",
        "the next start of a run on this host removes it",
    )


def shared_memory_finding(shm: WritableFolder, cores: int) -> Finding:
    """Ranks of one node speak to each other through files in /dev/shm."""
    needed = SEGMENT * cores
    advice = "ask your administrator for a larger /dev/shm (in Docker: --shm-size=1g)"
    if shm.problem:
        return fail(f"{shm.path}: {shm.problem}", advice)
    if shm.free < needed:
        return warn(
            f"{shm.path}: {shm.free / 1e6:.0f} MB free, and MPI takes up to "
            f"{needed / 1e6:.0f} MB for {cores} ranks",
            advice,
        )
    return ok(f"{shm.path}, {gb(shm.free)} free")
