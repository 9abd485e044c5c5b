"""What was found out about an image file before: its sha256, and how it starts on this host.

It saves `submit` reading the whole file and starting it once. Only what cannot have changed since
is answered; `verify`, `rerun` and `doctor` do not ask here, and a job hashes the image it runs.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Iterable, List, Tuple

from container import atomic
from container.digest import sha256_of_bytes
from container.image import image_digest
from container.runtime import EXEC_OPTIONS, PLACES, Runtime
from container.trouble import Trouble
from manifests.datasets.digest_cache import SETTLED_NS, stamp_of

#: So many ways to start one image are kept: a home folder may be shared by several login nodes.
KEPT = 16

#: Where Apptainer and Singularity may read whether they may use setuid, FUSE and user namespaces,
#: from the folder that holds their bin/, or from the root.
SETTINGS = ("etc/apptainer/apptainer.conf", "etc/singularity/singularity.conf")

#: Kernel settings on user namespaces (user_namespaces(7); Debian's and Ubuntu's own).
NAMESPACE_SETTINGS = (
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
)

#: Variables that decide how a container starts: the helpers that mount it are looked for on PATH,
#: an image that is unpacked needs room in the scratch folder.
DECIDING = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "HOME", *PLACES)

#: Lines of /proc/self/status on what this process may do (proc(5)).
RIGHTS = re.compile(r"^(?:Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap\w+):.*$", re.MULTILINE)


class ImageMemory:
    """One small file for each thing found out: commands that run at one time, also on other hosts,
    write none in common, so none takes from another what it learned. A damaged file counts as
    none, and one that cannot be written is a warning. ``read_only``: nothing is written.
    """

    def __init__(self, cache_root: Path, *, read_only: bool = False) -> None:
        self.folder = cache_root / "remembered"
        self.read_only = read_only
        self.warnings: List[str] = []

    def digest(self, image: Path) -> str:
        """sha256 of the file. It is read unless its path, size, times and inode are those of the
        last reading; a file younger than two seconds is not remembered.

        Raises OSError when it cannot be read.
        """
        begun, stamp = time.time_ns(), list(stamp_of(image.stat()))
        note = self._note(image, "sha256")
        known = _read(note)
        if known.get("stamp") == stamp and isinstance(known.get("sha256"), str):
            return str(known["sha256"])
        sha256 = image_digest(image)
        settled = max(stamp[1], stamp[3]) + SETTLED_NS < begun
        if settled and list(stamp_of(image.stat())) == stamp:
            self._write(note, {"stamp": stamp, "sha256": sha256})
        return sha256

    def exec_options(self, runtime: Runtime, image: Path) -> Tuple[str, ...]:
        """As ``runtime.exec_options``; not tried again where it worked with all that decides it.

        Raises Trouble when the image cannot be run at all.
        """
        note = self._note(image, f"start-{start_conditions(runtime, image)[:16]}")
        known = _read(note).get("options")
        for options in EXEC_OPTIONS:
            if known == list(options):
                return options
        options = runtime.exec_options(image)
        self._write(note, {"options": list(options)})
        if not self.read_only:
            _remove_oldest(self.folder.glob(self._note(image, "start-*").name))
        return options

    def _note(self, image: Path, what: str) -> Path:
        name = str(image.absolute()).encode("utf-8", "surrogateescape")
        return self.folder / f"{sha256_of_bytes(name)[:16]}.{what}.json"

    def _write(self, note: Path, known: Dict[str, Any]) -> None:
        if self.read_only:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.write_json(note, known)
        except (OSError, Trouble) as error:
            why = error.strerror if isinstance(error, OSError) else error.problems[0]
            self.warnings = [f"images are not remembered: {self.folder}: {why}"]


def _read(note: Path) -> Dict[str, Any]:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remove_oldest(notes: Iterable[Path]) -> None:
    """All but the KEPT that were written last; another command may remove them too."""
    ages = []
    for note in notes:
        with suppress(OSError):
            ages.append((note.stat().st_mtime_ns, note))
    for _, note in sorted(ages, reverse=True)[KEPT:]:
        with suppress(OSError):
            note.unlink()


def start_conditions(runtime: Runtime, image: Path) -> str:
    """A digest of all that decides how the image starts: program and its settings, the image,
    kernel and boot of this host, what this process may do, and the environment of the trial."""
    program = runtime.program
    tops = [program.resolve().parent.parent, program.parent.parent, Path("/")]
    files = [program, program.resolve(), image]
    environ = runtime.trial_environ
    files += [top / name for top in tops for name in SETTINGS]
    facts: List[Any] = [
        str(program),
        runtime.version,
        [_stamp(path) for path in files],
        list(os.uname()),
        _text("/proc/sys/kernel/random/boot_id"),
        [_text(path) for path in NAMESPACE_SETTINGS],
        RIGHTS.findall(_text("/proc/self/status")),
        _text("/proc/self/uid_map"),
        _text("/proc/self/attr/current"),
        os.access("/dev/fuse", os.R_OK | os.W_OK),
        {name: environ[name] for name in DECIDING if name in environ},
    ]
    # In ASCII: names in the environment need not be UTF-8.
    return sha256_of_bytes(json.dumps(facts, sort_keys=True, allow_nan=False).encode("ascii"))


def _stamp(path: Path) -> List[int]:
    """Empty for a file that is not there."""
    try:
        return list(stamp_of(path.stat()))
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
