"""What NCCL says of itself when its communicators are made: version, rings, algorithm, protocol.

NCCL writes it to a file of each rank below ``logs/``, which also helps a person when a run fails.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Container, Dict, Mapping, MutableMapping, Sequence

#: Of a rank's file below ``logs/``.
NAME = "nccl-{rank:05d}.log"

#: As NCCL 2.19 writes them: src/init.cc, src/graph/rings.cc and src/graph/tuning.cc. A ring stands
#: in the file of its first rank, and of one with more than 20 ranks only the first 20 (MAXWIDTH).
VERSION = re.compile(r"NCCL version (\S+)")
RING = re.compile(r"Channel (\d+)/\d+ :((?: +\d+)+)\s*$", re.MULTILINE)
BEGINNING = re.compile(r"comm \S+ rank \d+ nranks (\d+) .* Init START")
FROM_ENVIRONMENT = re.compile(r"NCCL_(ALGO|PROTO) set by environment to (\S+)")

#: What ask_for_report sets.
OURS = ("NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE")


def site_variables(environment: Mapping[str, str], knobs: Container[str]) -> Dict[str, str]:
    """NCCL's variables that neither the run's knobs nor ask_for_report set, hence the site.

    The names of network interfaces as well as those that choose algorithms: what each does to the
    order of sums is NCCL's affair, and another version's may be another.
    """
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith("NCCL_") and name not in OURS and name not in knobs
    }


def ask_for_report(environment: MutableMapping[str, str], logs: Path, rank: int) -> Path:
    """Have NCCL write its report; before NCCL is first used. Returns where it will be.

    It chooses nothing: NCCL_DEBUG and its like only say what is written down.
    """
    path = logs / NAME.format(rank=rank)
    environment.update(zip(OURS, ("INFO", "INIT,ENV,NET", str(path))))
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


def merged_reports(reports: Sequence[Mapping[str, str]]) -> Dict[str, str]:
    """Those of all ranks, by rank -> one. Rings carry the rank that reported them, ``rings.0``, and
    so does what a rank has otherwise than the first that reported it."""
    whole: Dict[str, str] = {}
    for rank, report in enumerate(reports):
        for name, value in report.items():
            if name == "rings" or whole.setdefault(name, value) != value:
                whole[f"{name}.{rank}"] = value
    return whole
