"""A job that goes on with a run must have GPUs of the classes that the job before it had."""

from __future__ import annotations

from typing import Dict, Optional

from manifests.record.outcome import SeenGpus
from trainer.trouble import CannotPromise

#: What NCCL reported to an earlier job stands in the record of a later one under its own name and
#: this, with the step after which the later job took over.
UNTIL = " until step "


def taken_over(
    before: Optional[SeenGpus], now: Optional[SeenGpus], step: int
) -> Optional[SeenGpus]:
    """What the run has seen, where the job with ``now`` goes on after ``step``.

    Raises CannotPromise when a rank has a GPU of another class than before. That NCCL adds in
    another order than before is written down: a difference in the bits is inconclusive then.
    """
    if before is None or now is None:
        return now
    for old, new in zip(before.ranks, now.ranks):
        if old.kind.text != new.kind.text:
            raise CannotPromise(
                f"rank {new.rank} on {new.host} has a {new.kind.text}; "
                f"up to step {step} the run had a {old.kind.text} there",
                "resume the run on such GPUs, or submit it again on these",
            )
    earlier: Dict[str, str] = {name: value for name, value in before.nccl.items() if UNTIL in name}
    for name in {*before.nccl, *now.nccl}:
        if UNTIL not in name and before.nccl.get(name) != now.nccl.get(name):
            earlier[f"{name}{UNTIL}{step}"] = before.nccl.get(name, "not reported")
    return now.model_copy(update={"nccl": {**now.nccl, **earlier}})
