"""Short questions to this host: commands with a time limit, the kernel's files, NVIDIA's driver."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import List, Optional

from container.process import CommandFailed, run
from manifests.host.gpus import Driver, Gpus, parse_asked, parse_names
from manifests.record.driver_version import VERSION_FILE, parse_version_file

#: Longer than a healthy command takes on a busy login node.
SECONDS = 20.0


def readable_text(path: Path | PurePosixPath) -> Optional[str]:
    """None where the file is not there or cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return None


def answer(argv: List[str]) -> str:
    """What a short command prints. Raises CommandFailed."""
    done = run(argv, timeout=SECONDS)
    return done.stdout or done.stderr


def look_at_driver() -> Driver:
    """By the kernel module's file, else by nvidia-smi: a driver may have another file, or none."""
    text = readable_text(VERSION_FILE)
    version = parse_version_file(text or "")
    if version is None:
        with suppress(CommandFailed):
            version = parse_asked(
                answer(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
            )
    if version is not None or text is None:
        return Driver(version)
    return Driver(unread=text.partition("\n")[0])


def look_at_gpus() -> Gpus:
    driver = look_at_driver()
    if driver == Driver():
        return Gpus(driver)
    try:
        listed = answer(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    except CommandFailed as error:
        return Gpus(driver, problem=str(error))
    return Gpus(driver, parse_names(listed))
