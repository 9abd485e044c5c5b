"""What `list` shows of a run's small records, read without building models: there may be thousands

Whatever is not exactly as this version writes it goes the long way, whose words for it are whole.
"""

from __future__ import annotations

import json
from typing import AbstractSet, Any, Dict, List, NamedTuple, Optional

from jobtemplates.schedulers import BACKENDS
from manifests.record.run_files import RunFiles
from manifests.record.version import SCHEMA_VERSION
from manifests.rundir.records import Warn, ignore


class Said(NamedTuple):
    """What a person says of a run."""

    message: Optional[str] = None
    tags: List[str] = []
    notes: List[str] = []


def job_id_of(files: RunFiles, present: AbstractSet[str], warn: Warn = ignore) -> Optional[str]:
    """None where nothing was submitted. ``present`` are the names in the run directory.

    Raises Trouble for a damaged or newer file.
    """
    if files.job.name not in present:
        return None
    raw = _plain(files.job, "job")
    backend = BACKENDS.get(str(raw.get("backend")))
    if backend is not None and all(isinstance(raw.get(name), str) for name in ("id", "host")):
        ids = [raw["id"], *_texts(raw.get("chain")), *_texts(raw.get("earlier"))]
        if all(backend.job_id[0].fullmatch(text) for text in ids):
            return str(raw["id"])
    from manifests.rundir.job import read_job

    job = read_job(files, warn)
    return job.id if job else None


def said_of(files: RunFiles, present: AbstractSet[str], warn: Warn = ignore) -> Said:
    """Nothing where nothing was said. Raises Trouble for a damaged file."""
    if files.labels.name not in present:
        return Said()
    raw = _plain(files.labels, "labels")
    notes = raw.get("notes")
    if isinstance(notes, list) and all(_is_note(note) for note in notes):
        message, tags = raw.get("message"), raw.get("tags")
        if (
            isinstance(tags, list)
            and _texts(tags) == tags
            and isinstance(message, (str, type(None)))
        ):
            return Said(message, tags, [note["text"] for note in notes])
    from manifests.rundir.labels import read_labels

    labels = read_labels(files, warn)
    return Said(labels.message, labels.tags, [note.text for note in labels.notes])


def _plain(path: Any, kind: str) -> Dict[str, Any]:
    """The object in a file that this version has written; empty for any other."""
    try:
        with open(path, "rb") as stream:
            raw = json.loads(stream.read())
    except (OSError, ValueError, RecursionError):
        return {}
    ours = isinstance(raw, dict) and raw.get("version") == SCHEMA_VERSION
    return raw if ours and raw.get("kind") == kind else {}


def _texts(value: Any) -> List[str]:
    """The texts of a list; something that is no job id where one is none."""
    if value is None:
        return []
    if not isinstance(value, list):
        return [""]
    return [text if isinstance(text, str) else "" for text in value]


def _is_note(note: Any) -> bool:
    names = ("at", "by", "text")
    return isinstance(note, dict) and all(isinstance(note.get(name), str) for name in names)
