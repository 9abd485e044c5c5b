"""Golden runs: a small run directory per schema version that landed (tests/golden/README.md).

They hold neither model nor checkpoints. All were made of the same config and the same 64 images.
"""

from __future__ import annotations

import os
import signal
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import List

from tests.integration.conftest import PROJECT

GOLDEN = PROJECT / "tests" / "golden" / "runs"
VERSIONS = sorted(path.name[: -len(".tar.xz")] for path in GOLDEN.glob("[0-9]*.tar.xz"))

#: Where the images lay when the golden runs were made.
ROOT = "/srv/golden/data"


def unpack(name: str, target: Path) -> Path:
    """Unpack an archive of one folder; return that folder."""
    with tarfile.open(GOLDEN / f"{name}.tar.xz") as archive:
        archive.extractall(target, filter="data")
        return target / archive.getnames()[0].partition("/")[0]


def moved(images: Path) -> List[str]:
    return ["--data", f"{ROOT}={images}"]


def kill_session(leader: int) -> None:
    """SIGKILL to every process of a job of site local, as when a machine loses power."""
    for _ in range(3):
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                    os.kill(int(entry.name), signal.SIGKILL)
        time.sleep(0.05)
