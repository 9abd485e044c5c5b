"""The GPUs that the ranks of a small job saw, against what a run on them needs."""

from __future__ import annotations

from typing import Dict, List, Optional

from manifests.host.finding import Finding, fail, ok, warn
from manifests.record.driver_version import too_old
from manifests.record.outcome import RankGpu
from manifests.record.schema import GpuPromise
from manifests.verdict.gpu_difference import different_classes

#: Rank -> the GPUs that CUDA showed it, in CUDA's order.
Visible = Dict[int, List[RankGpu]]

NO_DRIVER = "it cannot be read"


def gpus_finding(
    promise: Optional[GpuPromise], hosts: Dict[str, Visible], drivers: Dict[str, str], stack: str
) -> Finding:
    """``hosts``: what the ranks of each saw; ``drivers``: version by host, "" where none tells."""
    if promise is None:
        return ok(f"stack {stack} needs none")
    too_few = [text for host, ranks in hosts.items() for text in lacking(host, ranks)]
    if too_few:
        return fail(
            "; ".join(too_few),
            "every rank must see a GPU for each rank of its node: ask for as many, bound to none",
        )
    old = [
        f"{host} has NVIDIA driver {driver}"
        for host, driver in drivers.items()
        if driver and too_old(driver, promise.driver)
    ]
    if old:
        return fail(
            f"{'; '.join(old)}, and stack {stack} needs {promise.driver} or newer",
            "ask your administrator for a newer driver, or for other nodes",
        )
    used = [gpu for ranks in hosts.values() for gpu in gpu_of_each_rank(ranks)]
    classes = different_classes([gpu.kind for gpu in used])
    foreign = [kind.text for kind in classes if kind.capability not in promise.capabilities]
    if foreign:
        return fail(
            f"the image has no code for {' and '.join(foreign)}",
            f"ask for GPUs of compute capability {', '.join(promise.capabilities)}",
        )
    if len(classes) > 1:
        return warn(
            f"the ranks have GPUs of {len(classes)} classes: "
            f"{' and '.join(kind.text for kind in classes)}",
            "ask for nodes of one kind: on mixed ones a rerun must find the same mixture",
        )
    summary = [
        f"{host}: {len(ranks)} ranks, {len(next(iter(ranks.values())))} visible, "
        f"driver {drivers.get(host) or NO_DRIVER}"
        for host, ranks in hosts.items()
    ]
    return ok(f"{classes[0].text}; {'; '.join(summary)}")


def gpu_of_each_rank(ranks: Visible) -> List[RankGpu]:
    """The GPU that each rank of a node would work on: its number in the node, or the only one."""
    return [seen[local % len(seen)] for local, (_, seen) in enumerate(sorted(ranks.items()))]


def lacking(host: str, ranks: Visible) -> List[str]:
    """Why the ranks of a node have not a GPU each; empty where they have."""
    fewest = min(len(seen) for seen in ranks.values())
    if fewest == 0 or 1 < fewest < len(ranks):
        return [f"{host}: {len(ranks)} ranks and {fewest} GPUs"]
    # Who sees one GPU may have one of its own.
    different = len({gpu.apart for gpu in gpu_of_each_rank(ranks)})
    if different < len(ranks):
        return [f"{host}: {len(ranks)} ranks and {different} GPUs between them"]
    return []
