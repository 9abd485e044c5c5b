"""What a rerun promises about its GPUs, and whether this host can keep it."""

from __future__ import annotations

from typing import List, Optional, Sequence

from container.trouble import Trouble
from manifests.record.outcome import SeenGpus
from manifests.record.schema import GpuPromise, Promises
from manifests.verdict.gpu_difference import different_classes

OTHER_GPU = "--other-gpu"


def promises_again(
    before: Promises, seen: Optional[SeenGpus], *, other_gpu: bool = False
) -> Promises:
    """Those of a run that is to repeat one whose ranks had the GPUs ``seen``.

    Its GPUs must be of the same classes; of any class with ``other_gpu``. Raises Trouble where that
    is asked of a run without GPUs.
    """
    if before.gpu is None:
        if other_gpu:
            raise Trouble(f"{OTHER_GPU}: this run used no GPU", "leave the option out")
        return before
    classes = different_classes([rank.kind for rank in seen.ranks]) if seen else before.gpu.classes
    gpu = before.gpu.model_copy(update={"classes": [] if other_gpu else classes})
    return before.model_copy(update={"gpu": gpu})


def class_problems(promise: Optional[GpuPromise], names: Sequence[str], host: str) -> List[str]:
    """Why no GPU of this host, of which ``names`` are listed, is of a class of the promise.

    nvidia-smi lists no multiprocessors, so that of two classes with one name only the trainer can
    tell which it has. Nothing is known where it lists nothing.
    """
    wanted = [kind.model for kind in promise.classes] if promise else []
    if not wanted or not names or set(wanted) & set(names):
        return []
    asked = " and ".join(kind.text for kind in promise.classes) if promise else ""
    here = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return [f"the run was made on {asked}; {host} has {here}"]


NEXT_STEP = (
    f"run it where there are such GPUs, or on these with {OTHER_GPU}: the bits may differ then, "
    "and a difference will be inconclusive"
)
