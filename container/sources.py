"""Where the bytes of locked files come from: apt, a mirror, pip's index."""

from __future__ import annotations

import errno
import os
import shutil
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Protocol, Sequence

from container.download import Downloader, NotFetched
from container.lock import LockedFile
from container.process import CommandFailed, run
from container.reachable import file_here, folder_here
from container.store import mismatch
from container.trouble import Trouble
from container.wheel_index import WheelIndex, pip_settings

APT_HELPER = "/usr/lib/apt/apt-helper"
BATCH = 12  # files per call of apt-helper: few processes, progress all the same

Arrived = Callable[[LockedFile, Path], None]


class Source(Protocol):
    def fetch(self, files: Sequence[LockedFile], folder: Path, arrived: Arrived) -> None:
        """Put each file into ``folder`` and call ``arrived``; raise Trouble naming what fails."""


@dataclass(frozen=True)
class AptSource:
    """The machine's own apt: its proxies, credentials and transports. ``base`` ends in ``/``."""

    base: str

    def fetch(self, files: Sequence[LockedFile], folder: Path, arrived: Arrived) -> None:
        problems: List[str] = []
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            failed: Dict[str, str] = {}
            try:
                self._download(batch, folder)
            except CommandFailed:
                failed = self._one_by_one(batch, folder)
            for file in batch:
                if file.basename not in failed:
                    arrived(file, folder / file.basename)
            problems += failed.values()
            rest = files[start + BATCH :]
            if len(failed) == len(batch) and rest:
                # The mirror itself is at fault: each further file would cost its retries.
                problems.append(not_tried(rest))
                break
        if problems:
            raise Trouble(problems, OTHER_MIRROR)

    def _download(self, files: Sequence[LockedFile], folder: Path) -> None:
        options = ["-o", "Acquire::Retries=3"]
        if os.geteuid() == 0:
            # apt's own download user may not write into the user's cache.
            options += ["-o", "APT::Sandbox::User=root"]
        triples: List[str] = []
        for file in files:
            target = str(folder / file.basename)
            triples += [self.base + pool_path(file.file), target, f"SHA256:{file.sha256}"]
        run([APT_HELPER, *options, "download-file", *triples], cwd=folder)

    def _one_by_one(self, files: Sequence[LockedFile], folder: Path) -> Dict[str, str]:
        """Find out which files of a failed batch are at fault: file name -> problem."""
        problems: Dict[str, str] = {}
        for file in files:
            target = folder / file.basename
            if target.exists() and mismatch(target, file) is None:
                continue
            try:
                self._download([file], folder)
            except CommandFailed as error:
                if "No space left on device" in error.stderr_tail:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                problems[file.basename] = apt_problem(file, error.stderr_tail)
        return problems


@dataclass(frozen=True)
class MirrorSource:
    """A Debian mirror by its URL (http, https, file), read without apt. ``base`` ends in ``/``."""

    base: str
    downloader: Downloader

    def fetch(self, files: Sequence[LockedFile], folder: Path, arrived: Arrived) -> None:
        problems: List[str] = []
        for number, file in enumerate(files, start=1):
            target = folder / file.basename
            try:
                self.downloader.to_file(self.base + pool_path(file.file), target)
            except NotFetched as error:
                problems.append(not_fetched(file, str(error)))
                if not error.final and number < len(files):
                    # It does not answer, and each further file would wait for that anew.
                    problems.append(not_tried(files[number:]))
                    break
                continue
            fault = mismatch(target, file)
            if fault is None:
                arrived(file, target)
            else:
                target.unlink()
                problems.append(f"{file.basename}: {fault}")
        if problems:
            raise Trouble(problems, OTHER_MIRROR)


@dataclass(frozen=True)
class IndexSource:
    """pip's configured package indexes, read without running any package's code."""

    index: WheelIndex

    def fetch(self, files: Sequence[LockedFile], folder: Path, arrived: Arrived) -> None:
        problems: List[str] = []
        for number, file in enumerate(files):
            try:
                problem = self._fetch_one(file, folder / file.basename)
            except Trouble as error:
                # No index answers: the other files would wait for the same silence.
                problems += [*error.problems, not_tried(files[number:])]
                break
            if problem is None:
                arrived(file, folder / file.basename)
            else:
                problems.append(problem)
        if problems:
            raise Trouble(problems, OTHER_INDEX)

    def _fetch_one(self, file: LockedFile, target: Path) -> Optional[str]:
        """Try every place that has a file of that name; the last failure is returned."""
        problem = not_fetched(file, "no configured package index lists it")
        for candidate in self.index.candidates(file.name):
            if candidate.filename != file.basename:
                continue
            if candidate.sha256 not in (None, file.sha256):
                fault = f"expected sha256 {file.sha256}, found {candidate.sha256}"
                problem = f"{file.basename}: {fault} in the index"
                continue
            try:
                self.index.downloader.to_file(candidate.url, target)
            except NotFetched as error:
                problem = not_fetched(file, str(error))
                continue
            fault_on_disk = mismatch(target, file)
            if fault_on_disk is None:
                return None
            target.unlink()
            problem = f"{file.basename}: {fault_on_disk}"
        return problem


OTHER_MIRROR = "check the network, or name a mirror that has these files with --mirror URL"
OTHER_INDEX = (
    "check the network, or let pip's settings (index-url, extra-index-url, find-links) "
    "name an index that has these files"
)


def pool_path(path: str) -> str:
    """A pool path as mirrors expect it in a URL."""
    return urllib.parse.quote(path, safe="/~:")


def not_fetched(file: LockedFile, reason: str) -> str:
    return (
        f"{file.basename}: cannot be fetched: {reason} "
        f"(expected {file.size} bytes, sha256 {file.sha256})"
    )


def not_tried(files: Sequence[LockedFile]) -> str:
    return "skipped after this failure: " + ", ".join(file.basename for file in files)


def apt_problem(file: LockedFile, stderr: str) -> str:
    """apt's first own error line, or what it found where the hash differs."""
    found = [line.split("SHA256:")[1].strip() for line in stderr.splitlines() if "SHA256:" in line]
    differing = [sha256 for sha256 in found if sha256 != file.sha256]
    if differing:
        return f"{file.basename}: expected sha256 {file.sha256}, found {differing[0]}"
    errors = [line[2:].strip() for line in stderr.splitlines() if line.startswith("E:")]
    return not_fetched(file, errors[0] if errors else stderr.strip() or "apt gave no reason")


def with_slash(url: str) -> str:
    return url if url.endswith("/") else url + "/"


def apt_base() -> Optional[str]:
    """Base of the first Debian mirror that this machine's apt is configured with."""
    if shutil.which("apt-get") is None:
        return None
    listing = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    ).stdout
    bases = [line for line in listing.splitlines() if line.endswith("/debian/")]
    return bases[0] if bases else None


@dataclass(frozen=True)
class Later:
    """A source that is made when something has to be fetched: asking apt and pip takes a second."""

    make: Callable[[], Source]

    def fetch(self, files: Sequence[LockedFile], folder: Path, arrived: Arrived) -> None:
        self.make().fetch(files, folder, arrived)


@dataclass(frozen=True)
class FolderFirst:
    """What a folder has of the files, whole, comes from there; the others come from elsewhere."""

    folder: Path
    elsewhere: Source

    def fetch(self, files: Sequence[LockedFile], folder: Path, arrived: Arrived) -> None:
        lacking: List[LockedFile] = []
        for file in files:
            here = self.folder / file.basename
            if not file_here(here) or mismatch(here, file) is not None:
                lacking.append(file)
                continue
            shutil.copyfile(here, folder / file.basename)
            arrived(file, folder / file.basename)
        if lacking:
            self.elsewhere.fetch(lacking, folder, arrived)


def folder_first(folder: Optional[Path], elsewhere: Source) -> Source:
    """``elsewhere`` alone where there is no such folder."""
    has = folder is not None and folder_here(folder)
    return FolderFirst(folder, elsewhere) if folder is not None and has else elsewhere


def deb_source(mirror: Optional[str]) -> Source:
    """``mirror`` when given, else the machine's apt; Trouble on use when there is neither."""
    if mirror:
        return MirrorSource(with_slash(mirror), Downloader())
    return Later(_apt_source)


def _apt_source() -> Source:
    base = apt_base() if Path(APT_HELPER).exists() else None
    if base is None:
        raise Trouble(
            "this machine's apt knows no Debian mirror to fetch packages from",
            "name one with --mirror URL",
        )
    return AptSource(base)


def wheel_source() -> Source:
    """pip's configured indexes; pip is asked when something has to be fetched."""
    return Later(lambda: IndexSource(configured_index()))


def configured_index() -> WheelIndex:
    settings = pip_settings()
    return WheelIndex(settings, Downloader(settings.certificates))
