"""What descriptions of a run rest on: its records, the files that go along, and its reruns"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Sequence

from manifests.record.communicators import counted
from manifests.record.outcome import Result
from manifests.record.schema import Author, Manifest


@dataclass(frozen=True)
class FileFacts:
    """A file by its name below the run directory; what is not known is None."""

    name: str
    size: Optional[int] = None  # bytes
    sha256: Optional[str] = None


@dataclass(frozen=True)
class RerunFacts:
    """``statements`` are names of files that state its verdict; ``steps`` those that it compared,
    "" for all; ``ended`` is UTC, a day, or "" where it is not known."""

    name: str
    verdict: str
    ended: str = ""
    hosts: Sequence[str] = ()
    processor: str = ""
    steps: str = ""
    statements: Sequence[str] = ()
    account: Optional[str] = None  # of the user who started it


@dataclass(frozen=True)
class RunFacts:
    """``name`` is that of the run directory; an anonymous run names neither people nor machines."""

    name: str
    manifest: Manifest
    result: Optional[Result]
    files: Sequence[FileFacts]
    reruns: Sequence[RerunFacts] = ()
    anonymous: bool = False
    failed: bool = False  # it has no result and will have none unless it is resumed

    @property
    def authors(self) -> List[Author]:
        named = self.manifest.circumstance.authors
        return list(named or []) if not self.anonymous else []

    @property
    def day(self) -> str:
        """The day on which the run ended, or began where it has not: 2026-01-31."""
        result = self.result
        return (result.observed.finished if result else self.manifest.circumstance.created)[:10]

    @property
    def sentence(self) -> str:
        """What was trained, for a person."""
        training, world = self.manifest.identity.training, self.manifest.identity.world
        data = self.manifest.identity.data
        return (
            f"Training of the network {training.arch} on {data.train.samples} images of "
            f"{training.nclasses} classes for {counted(training.epochs, 'epoch')}, on "
            f"{counted(world.ranks, 'rank')}, "
            f"recorded so that it can be run again with the same bits"
        )
