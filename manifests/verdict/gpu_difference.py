"""The GPUs of two runs -> what of them may be why the bits differ, and what else is different."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from manifests.record.outcome import SeenGpus
from manifests.record.schema import GpuClass
from manifests.verdict.comparison import FieldDifference

ABSENT = "not reported"


def different_classes(kinds: Sequence[GpuClass]) -> List[GpuClass]:
    """Each class once, in the order of its first rank."""
    found: Dict[str, GpuClass] = {}
    for kind in kinds:
        found.setdefault(kind.text, kind)
    return list(found.values())


def other_conditions(a: Optional[SeenGpus], b: Optional[SeenGpus]) -> List[str]:
    """What of GPUs, NCCL and settings may give other bits, in sentences; none of them is broken."""
    if a is None or b is None:
        return []
    return [
        *_classes(a, b),
        *_by_name("NCCL", a.nccl, b.nccl),
        *_by_name("GPU setting", a.settings, b.settings),
        *_unknown_rings(a, b),
    ]


def _classes(a: SeenGpus, b: SeenGpus) -> List[str]:
    sides = [[rank.kind.text for rank in seen.ranks] for seen in (a, b)]
    if sides[0] == sides[1]:
        return []
    if all(len(set(side)) == 1 for side in sides):
        return [f"GPU class: {sides[0][0]} | {sides[1][0]}"]
    pairs = zip(*(side + [ABSENT] * (max(map(len, sides)) - len(side)) for side in sides))
    return [
        f"GPU class of rank {rank}: {one} | {other}"
        for rank, (one, other) in enumerate(pairs)
        if one != other
    ]


def _by_name(what: str, a: Mapping[str, str], b: Mapping[str, str]) -> List[str]:
    return [
        f"{what} {name}: {a.get(name, ABSENT)} | {b.get(name, ABSENT)}"
        for name in sorted({*a, *b})
        if a.get(name) != b.get(name)
    ]


def _unknown_rings(a: SeenGpus, b: SeenGpus) -> List[str]:
    """Where NCCL does not say in which order it adds, the places of the ranks may decide it."""
    known = any(name.startswith("rings") for name in (*a.nccl, *b.nccl))
    if known or len(a.ranks) < 2 or _places(a) == _places(b):
        return []
    return ["the ranks lie on other GPUs, and NCCL reported its rings for neither run"]


def _places(seen: SeenGpus) -> Dict[int, str]:
    """Rank -> which node, counted from 0 in the order of the ranks, and which GPU of it."""
    nodes = list(dict.fromkeys(rank.host for rank in seen.ranks))
    return {rank.rank: f"node {nodes.index(rank.host)}, {rank.bus}" for rank in seen.ranks}


def circumstances(a: Optional[SeenGpus], b: Optional[SeenGpus]) -> List[FieldDifference]:
    """The driver, and the places of the ranks: what describes, and by itself changes no bit."""
    if a is None or b is None:
        return []
    driver: Tuple[str, str, str] = ("observed.gpus.driver", a.driver, b.driver)
    places = [_places(a), _places(b)]
    ranks = [
        (f"observed.gpus.ranks.{rank}", places[0].get(rank), places[1].get(rank))
        for rank in sorted({*places[0], *places[1]})
    ]
    return [
        FieldDifference(path=path, a=one, b=other)
        for path, one, other in (driver, *ranks)
        if one != other
    ]
