"""What NCCL says of itself when its communicators are made: version, rings, algorithm, protocol.

NCCL writes it to a file of each rank below ``logs/``, which also helps a person when a run fails.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Mapping, MutableMapping, Sequence

#: Of a rank's file below ``logs/``.
NAME = "nccl-{rank:05d}.log"

#: As NCCL 2.19 writes them: src/init.cc, src/graph/rings.cc and src/graph/tuning.cc. A ring stands
#: in the file of its first rank, and of one with more than 20 ranks only the first 20 (MAXWIDTH).
VERSION = re.compile(r"NCCL version (\S+)")
RING = re.compile(r"Channel (\d+)/\d+ :((?: +\d+)+)\s*$", re.MULTILINE)
BEGINNING = re.compile(r"comm \S+ rank \d+ nranks (\d+) .* Init START")
FROM_ENVIRONMENT = re.compile(r"NCCL_(ALGO|PROTO) set by environment to (\S+)")


def ask_for_report(environment: MutableMapping[str, str], logs: Path, rank: int) -> Path:
    """Have NCCL write its report; before NCCL is first used. Returns where it will be.

    It chooses nothing: NCCL_DEBUG and its like only say what is written down.
    """
    path = logs / NAME.format(rank=rank)
    environment["NCCL_DEBUG"] = "INFO"
    environment["NCCL_DEBUG_SUBSYS"] = "INIT,ENV,NET"
    environment["NCCL_DEBUG_FILE"] = str(path)
    return path


def read_report(path: Path) -> str:
    """Empty where there is none: a run does not fail for want of a report."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def parse_report(text: str) -> Dict[str, str]:
    """``version``, ``algorithm``, ``protocol`` and ``rings``, as far as the text has them.

    Rings are NCCL's ranks in order, one ring after another: ``0 1 3 2; 0 2 3 1``. None are told
    unless each has as many ranks as the communicator: two rings may begin alike. Where a process
    made several communicators the last one counts.
    """
    found: Dict[str, str] = {}
    version = VERSION.search(text)
    if version:
        found["version"] = version.group(1)
    names = {"ALGO": "algorithm", "PROTO": "protocol"}
    for name, value in FROM_ENVIRONMENT.findall(text):
        found[names[name]] = value
    communicators = list(BEGINNING.finditer(text))
    if communicators:
        size, begin = int(communicators[-1].group(1)), communicators[-1].end()
        rings = {int(number): ring.split() for number, ring in RING.findall(text, begin)}
        if rings and all(len(ring) == size for ring in rings.values()):
            found["rings"] = "; ".join(" ".join(ring) for _, ring in sorted(rings.items()))
    return found


def put_together(reports: Sequence[Mapping[str, str]]) -> Dict[str, str]:
    """Those of all ranks, by rank -> one: rings carry the rank that reported them, ``rings.0``."""
    whole: Dict[str, str] = {}
    for rank, report in enumerate(reports):
        for name, value in report.items():
            whole.setdefault(f"rings.{rank}" if name == "rings" else name, value)
    return whole
