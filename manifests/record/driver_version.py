"""Versions of NVIDIA's driver; shared by both sides of the container."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional, Tuple

#: Written by the loaded kernel module; not there without one.
VERSION_FILE = Path("/proc/driver/nvidia/version")
#: Its first line, of the closed and of the open kernel module.
_MODULE = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)")
_VERSION = re.compile(r"\d+(\.\d+)+")


def parse_version_file(text: str) -> Optional[str]:
    """The text of VERSION_FILE -> the version, None for any other text."""
    match = _MODULE.search(text)
    return match.group(1) if match else None


def parse_version(text: str) -> Optional[str]:
    """The text if it is a version, such as 525.60.13, else None."""
    return text if _VERSION.fullmatch(text) else None


def too_old(driver: str, needed: str) -> bool:
    return _numbers(driver) < _numbers(needed)


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
