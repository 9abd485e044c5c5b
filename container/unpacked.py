"""Images that a container program unpacked and, being killed, left: found with care, and removed.

``exec --unsquash`` unpacks an image into ``rootfs-NUMBER`` in the temporary folder and removes it
at its end; a program that is killed leaves half a gigabyte there. What is removed must be made by
this account and by the container program, and nothing that lives may be its maker or use it. In
doubt it stays.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

from container.build_folder import remove_tree

ROOTFS = re.compile(r"rootfs-[0-9]+")
#: What the program itself runs in while it unpacks; it stays beside the image's own root.
UNPACKER = re.compile(r"tmp-rootfs-[0-9]+")
TMP_VARIABLES = ("APPTAINER_TMPDIR", "SINGULARITY_TMPDIR", "TMPDIR")
#: In what a running container has mounted.
MOUNTED = ("rootfs-", "/mnt/session")
#: Names of the program's processes (proc(5), comm), which may have more to do than is seen.
PROGRAMS = ("apptainer", "singularity", "starter", "starter-suid", "unsquashfs")
#: On others, above all on those of a network, a maker may live on another host.
LOCAL_FILE_SYSTEMS = (
    "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs",
)  # fmt: skip
#: The kernel's first process namespace (include/linux/proc_ns.h): from others not all is seen.
FIRST_NAMESPACE = 0xEFFFFFFC


@dataclass(frozen=True)
class AccountProcess:
    """One of this account: its name and all that it says of the files that it uses; None where
    it may not be asked."""

    command: str
    uses: Optional[str]

    def may_use(self, folder: Path) -> bool:
        """Also whether it is a container program at a stage at which it shows no image yet."""
        if self.uses is None:  # agents of a session hide, too
            return self.command in PROGRAMS
        if re.search(rf"(?<![^/]){re.escape(folder.name)}(?![0-9])", self.uses):
            return True
        return self.command in PROGRAMS and not any(word in self.uses for word in MOUNTED)


def dead_folders(environ: Mapping[str, str]) -> List[Path]:
    """Folders of this account that nobody uses and nobody can be about to use."""
    found = [folder for parent in tmp_folders(environ) for folder in candidates(parent)]
    if not found or not sees_all_processes():
        return []
    alive = list(own_processes())
    return [folder for folder in found if not any(x.may_use(folder) for x in alive)]


def remove_left_behind(environ: Mapping[str, str]) -> List[Path]:
    """Remove them; returns those that are gone. Whatever goes wrong, nothing is raised."""
    try:
        folders = dead_folders(environ)
    except OSError:
        return []
    for folder in folders:
        remove_tree(folder)
    return [folder for folder in folders if not folder.exists()]


def size_of(folder: Path) -> int:
    """Bytes on the disk."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_blocks * 512
    return total


def tmp_folders(environ: Mapping[str, str]) -> List[Path]:
    named = [Path(environ[name]) for name in TMP_VARIABLES if environ.get(name)]
    folders: Dict[Path, None] = {}
    for folder in [*named, Path("/tmp")]:
        if folder.is_absolute() and file_system_of(folder) in LOCAL_FILE_SYSTEMS:
            with suppress(OSError):
                folders.setdefault(folder.resolve(strict=True), None)
    return list(folders)


def candidates(parent: Path) -> List[Path]:
    """What is named and made as the container program does, by this account."""
    try:
        folders = sorted(x for x in parent.iterdir() if ROOTFS.fullmatch(x.name))
        return [folder for folder in folders if is_candidate(folder)]
    except OSError:
        return []


def is_candidate(folder: Path) -> bool:
    try:
        seen = folder.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
            return False
        names = {entry.name for entry in os.scandir(folder)}
        marked = any(UNPACKER.fullmatch(name) for name in names)
        image = (folder / "root" / ".singularity.d").is_dir()
    except OSError:
        return False
    others = {name for name in names if name != "root" and not UNPACKER.fullmatch(name)}
    return not others and (marked or image)


# --- what lives -----------------------------------------------------------------------------


def sees_all_processes() -> bool:
    """Those of this account, wherever on this host they were started."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == FIRST_NAMESPACE
    except OSError:
        return False


def own_processes() -> Iterator[AccountProcess]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            with suppress(FileNotFoundError, ProcessLookupError):
                if path.stat().st_uid == os.geteuid() or owner(path) == os.getuid():
                    yield AccountProcess(command_of(path), uses_of(path))


def owner(path: Path) -> int:
    """The real user of a process: a program with more rights has its files in /proc as root's."""
    for line in (path / "status").read_text(errors="replace").splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    return -1


def command_of(path: Path) -> str:
    return (path / "comm").read_text(errors="replace").strip()


def uses_of(path: Path) -> Optional[str]:
    """Its mounts, command line, folders and open files as one text; None where that is hidden."""
    try:
        texts = [(path / name).read_text(errors="replace") for name in ("mountinfo", "cmdline")]
        links = [path / "cwd", path / "root", *(path / "fd").iterdir()]
    except PermissionError:
        return None
    except OSError:  # a zombie has no mounts any more
        return ""
    for link in links:
        with suppress(OSError):
            texts.append(str(link.readlink()))
    return "\n".join(texts).replace("\0", "\n")


def file_system_of(folder: Path) -> str:
    """The type of the mount that a path lies on, as in /proc/self/mountinfo; "" where unknown."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
        place = folder.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        return ""
    best: Tuple[int, str] = (-1, "")
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        mount = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if mount == place or mount in place.parents:
            best = max(best, (len(mount.parts), after.split()[0]), key=lambda found: found[0])
    return best[1]
