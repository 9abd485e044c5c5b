"""Names of runs: what a person may write for a run in the place of its path"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

from container.cache import Cache
from container.reachable import file_here
from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.rundir.known_outs import known_outs

_NAME = re.compile(r"(?P<jobname>.+)-(?P<created>[0-9]{8}T[0-9]{6}Z)-(?P<identity>[0-9a-f]{8})")
_LAST = re.compile(r"@last(?:~(?P<back>[0-9]{1,9}))?")
_DIGEST = re.compile(r"[0-9a-f]{9,64}")

#: So many runs stand in a message.
_SHOWN = 20
LISTED = "python bundle.py list shows the runs that were submitted from this account"


@dataclass(frozen=True)
class RunName:
    """The parts of a directory's name; ``created`` in UTC, as 20260131T235959Z."""

    jobname: str
    created: str
    identity: str  # first 8 characters


def parse_run_name(name: str) -> Optional[RunName]:
    """None for a directory that was given another name."""
    match = _NAME.fullmatch(name)
    return RunName(match["jobname"], match["created"], match["identity"]) if match else None


def known_runs(outs: Iterable[Path]) -> List[Path]:
    """Directories that have the name of a run, the newest last; folders that cannot be read are
    passed over."""
    found = []
    for out, text in _names(outs):
        name = parse_run_name(text)
        if name is not None:
            found.append((name.created, text, out))
    return [Path(out) / text for _, text, out in sorted(found)]


def renamed_runs(outs: Iterable[Path]) -> List[Path]:
    """Runs that were given another name, by name."""
    others = [Path(out) / text for out, text in _names(outs) if parse_run_name(text) is None]
    return sorted(path for path in others if _is_run(path))


def _names(outs: Iterable[Path]) -> Iterator[Tuple[str, str]]:
    """(folder, name of an entry); runs that are being made are none yet."""
    for out in sorted({os.path.realpath(out) for out in outs}):
        try:
            with os.scandir(out) as entries:
                names = [entry.name for entry in entries]
        except OSError:
            continue
        for name in names:
            if not name.startswith("."):
                yield out, name


def matches(text: str, runs: Iterable[Path]) -> List[Path]:
    """The runs that ``text`` may mean: those of exactly this directory name, else those of this
    jobname, else those whose directory name, time or identity begins with it."""
    runs = list(runs)
    return (
        [run for run in runs if run.name == text]
        or [run for run in runs if run.name.rpartition("-")[0].rpartition("-")[0] == text]
        or [run for run in runs if _begins(text, run)]
    )


def _begins(text: str, run: Path) -> bool:
    name = parse_run_name(run.name)
    if name is None or not text:
        return False
    if _DIGEST.fullmatch(text):  # more of the identity than the directory's name has
        return text.startswith(name.identity) and identity_in_manifest(run).startswith(text)
    parts = (name.created, name.identity)
    longer = text.startswith(f"{name.jobname}-") and run.name.startswith(text)
    return longer or any(part.startswith(text) for part in parts)


def names_that_begin(text: str, outs: Iterable[Path]) -> List[Tuple[str, str]]:
    """(name, the run's directory name where that is another one): what ``text`` can become."""
    outs = list(outs)
    newest = [run.name for run in known_runs(outs)[::-1]]
    if text.startswith("@"):
        counted = [(f"@last~{back}" if back else "@last", run) for back, run in enumerate(newest)]
        shown = counted[:_SHOWN] if "~" in text else counted[:1]
        return [(name, run) for name, run in shown if name.startswith(text)]
    names = [*newest, *(run.name for run in renamed_runs(outs) if run.name[0] != "-")]
    found = [(name, "") for name in names if name.startswith(text)]
    if not text:
        return [*((("@last", newest[0]),) if newest else ()), *found]
    if found:
        return found
    parts: Dict[str, str] = {}
    for run in newest:
        name = parse_run_name(run)
        assert name is not None, run
        for part in (name.identity, name.created):
            if part.startswith(text):
                parts.setdefault(part, run)
    return list(parts.items())


def identity_in_manifest(run: Path) -> str:
    """As it stands in the manifest; "" where that cannot be read."""
    try:
        with RunFiles(run).manifest.open("r", encoding="utf-8", errors="replace") as stream:
            found = re.search(r'"identity_digest": ?"([0-9a-f]{64})"', stream.read())
    except OSError:
        return ""
    return found[1] if found else ""


def run_named(text: str, cache: Cache) -> Optional[Path]:
    """The run that ``text`` names among those submitted from this account; None where none is.

    Raises Trouble where it may mean several, or counts from the newest run further than there are.
    """
    outs = known_outs(cache)
    if text.startswith("@"):
        return _counted(text, [run for run in known_runs(outs) if _is_run(run)])
    found = [run for run in _of_directory_name(text, outs) if _is_run(run)]
    found = found or [run for run in matches(text, known_runs(outs)) if _is_run(run)]
    if len(found) > 1:
        more = len(found) - _SHOWN
        raise Trouble(
            [
                f"{text}: may mean {len(found)} runs:",
                *([f"  {more} older ones"] if more > 0 else []),
                *(f"  {run}" for run in found[-_SHOWN:]),
            ],
            "write more of the name, @last for the newest run of all, or a path",
        )
    return found[0] if found else None


def _of_directory_name(text: str, outs: Iterable[Path]) -> List[Path]:
    """Also a name that a person gave, which `list` shows like any other."""
    if text.startswith("."):
        return []
    return [Path(out) / text for out in sorted({os.path.realpath(out) for out in outs})]


def _is_run(path: Path) -> bool:
    return file_here(RunFiles(path).manifest)


def _counted(text: str, runs: List[Path]) -> Path:
    match = _LAST.fullmatch(text)
    if match is None:
        raise Trouble(f"{text}: is not the name of a run", "@last is the newest, @last~1 the next")
    back = int(match["back"] or 0)
    if back >= len(runs):
        there = f"{len(runs)} runs are" if len(runs) != 1 else "1 run is"
        raise Trouble(f"{text}: {there} known from this account", LISTED)
    return runs[-1 - back]
