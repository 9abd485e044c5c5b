"""Two traces of one step -> the first layer, tensor and ranks in which they differ (pure)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

from manifests.record.step_trace import PHASES, RankTrace, TraceEntry


@dataclass(frozen=True)
class TraceDifference:
    """``entry`` is the first one, in the order of the work, that differs, on these ``ranks``;
    ``hosts`` are theirs in ``b``. ``other`` is None where the place is the same and the digest
    differs; else what ``b`` did there instead, or "nothing"."""

    entry: TraceEntry
    ranks: List[int]
    hosts: List[str]
    other: Optional[str] = None

    @property
    def text(self) -> str:
        """``forward, output of /block2/conv, rank 1 on host1``"""
        instead = f" (the other run has {self.other} there)" if self.other else ""
        return f"{place_text(self.entry)}{instead}, {ranks_text(self.ranks, self.hosts)}"


def place_text(entry: TraceEntry) -> str:
    layer = entry.layer or ("the network" if entry.phase in ("forward", "backward") else "")
    words = {
        "before": "the state before the step",
        "batch": "its batch",
        "forward": "the forward pass",
        "loss": "the loss",
        "backward": "the backward pass",
        "gradients": "the rank's own gradients",
        "orders": "sums over ranks in other orders",
        "reduced": "the mean gradient of all ranks",
        "after": "the parameters after the update",
    }
    if entry.phase == "loss":
        return words["loss"]
    return f"{words[entry.phase]}, {entry.tensor}{f' of {layer}' if layer else ''}"


def ranks_text(ranks: Sequence[int], hosts: Sequence[str]) -> str:
    """``rank 1 on host1``; ``ranks 0, 1 on host1``; ``ranks 0, 1 on host1, host2``"""
    names = ", ".join(dict.fromkeys(hosts))
    many = "s" if len(ranks) > 1 else ""
    return f"rank{many} {', '.join(map(str, ranks))} on {names}"


def first_difference(a: Sequence[RankTrace], b: Sequence[RankTrace]) -> Optional[TraceDifference]:
    """None where all entries are alike.

    Ranks work side by side: the difference is that of the earliest phase of any rank, and of all
    ranks that differ in the same place of it.
    """
    found: Dict[int, TraceDifference] = {}
    for one, other in zip(a, b):
        difference = _of_rank(one, other)
        if difference is not None:
            found[one.head.rank] = difference
    if not found:
        return None
    first = min(found.values(), key=lambda item: (PHASES.index(item.entry.phase), item.ranks))
    alike = [item for item in found.values() if item.entry.place == first.entry.place]
    return TraceDifference(
        first.entry,
        [rank for item in alike for rank in item.ranks],
        [host for item in alike for host in item.hosts],
        first.other,
    )


def _of_rank(a: RankTrace, b: RankTrace) -> Optional[TraceDifference]:
    where = [a.head.rank], [b.head.host]
    for number, entry in enumerate(a.entries):
        if number >= len(b.entries):
            return TraceDifference(entry, *where, other="nothing")
        other = b.entries[number]
        if entry.place != other.place:
            return TraceDifference(entry, *where, other=place_text(other))
        if entry.digest != other.digest:
            return TraceDifference(entry, *where)
    if len(b.entries) > len(a.entries):
        return TraceDifference(b.entries[len(a.entries)], *where, other="nothing")
    return None


def entries_of(trace: RankTrace, phase: str) -> List[TraceEntry]:
    return [entry for entry in trace.entries if entry.phase == phase]


def tensors_of(trace: RankTrace, phase: str) -> Dict[str, str]:
    """Digest by parameter name, in the order of the trace: ``/block1/conv/W``."""
    return {f"{entry.layer}/{entry.tensor}": entry.digest for entry in entries_of(trace, phase)}
