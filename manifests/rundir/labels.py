"""``labels.json``: what a person says of a run: a message, tags, notes"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from typing import Iterable, Iterator, List, Optional, Sequence

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Literal

from container import atomic
from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.record.text_controls import CONTROLS
from manifests.record.version import SCHEMA_VERSION
from manifests.rundir.records import Warn, ignore, read_record

MOST_LETTERS = 500
_TAG = re.compile(rf"[^\s,#{CONTROLS}][^\s,{CONTROLS}]{{0,39}}")
_CONTROL = re.compile(f"[{CONTROLS}]")


class Note(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    at: str  # UTC
    by: str
    text: str


class Labels(BaseModel):
    """No digest of the run has them: they may change at any time."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: str = SCHEMA_VERSION
    kind: Literal["labels"] = "labels"
    message: Optional[str] = None
    tags: List[str] = Field(default_factory=list)
    notes: List[Note] = Field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.message or self.tags or self.notes)


def checked_labels(message: Optional[str], tags: Iterable[str]) -> Labels:
    """What a person gave with `submit`. Raises Trouble with all that is wrong with it."""
    tags = list(dict.fromkeys(tags))
    problems = [*line_problems("-m", message or ""), *tag_problems("--tag", tags)]
    if problems:
        raise Trouble(problems, "write it in other words; notes can be added: note RUN TEXT")
    return Labels(message=message or None, tags=tags)


def line_problems(option: str, text: str) -> List[str]:
    if _CONTROL.search(text) or not _is_utf8(text):
        return [f"{option}: found {text!r}, expected one line of UTF-8 text"]
    if len(text) > MOST_LETTERS:
        return [f"{option}: has {len(text)} letters, expected at most {MOST_LETTERS}"]
    return []


def tag_problems(option: str, tags: Sequence[str]) -> List[str]:
    expected = "expected up to 40 letters without spaces and commas, the first one no #"
    return [
        f"{option}: found {tag[:60]!r}, {expected}"
        for tag in tags
        if not (_TAG.fullmatch(tag) and _is_utf8(tag))
    ]


def _is_utf8(text: str) -> bool:
    return text == text.encode("utf-8", "replace").decode("utf-8")


def read_labels(files: RunFiles, warn: Warn = ignore) -> Labels:
    """Empty ones where nothing was said. Raises Trouble for a damaged file."""
    return read_record(files.labels, Labels, warn) if files.labels.exists() else Labels()


@contextmanager
def only_writer(files: RunFiles) -> Iterator[None]:
    """Others wait while labels are read, changed and written: none is to undo what another says.

    The manifest is locked, which is never written again.
    """
    descriptor = os.open(files.manifest, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_labels(files: RunFiles, labels: Labels) -> None:
    atomic.write_json(files.labels, labels.model_dump(mode="json"))
