"""The states that a run keeps to its end and after it: after which steps, and how large"""

from __future__ import annotations

import math
from typing import List

from container.size_text import size_text
from container.trouble import Trouble
from manifests.record.communicators import counted
from manifests.record.network_shapes import Shapes, network_shapes
from manifests.record.schema import Manifest

#: Arrays of the size of a parameter that an optimizer keeps beside it.
_STATES = {"momentum_sgd": 1, "rmsprop": 1, "adam": 2, "rmsprop_warmup": 2}
#: Steps that are named.
_NAMED = 6


def array_bytes(shapes: Shapes) -> int:
    """Bytes of float32 arrays."""
    return sum(4 * math.prod(shape) for shape in shapes.values())


def checkpoint_bytes(manifest: Manifest) -> int:
    """Bytes of one checkpoint, within some hundredths: the parameters, the optimizer's arrays, and
    the statistics of every rank."""
    training = manifest.identity.training
    shapes = network_shapes(training.arch, training.nclasses)
    copies = 1 + _STATES.get(training.optimizer.name, 1)
    own = array_bytes(shapes.statistics) * manifest.identity.world.ranks
    return array_bytes(shapes.parameters) * copies + own


def archive_notes(manifest: Manifest) -> List[str]:
    """What is kept and which room it takes, for a person. Raises Trouble where the run has not so
    many steps."""
    archive, steps = manifest.circumstance.checkpointing.archive, manifest.identity.steps
    if archive is None:
        return []
    from manifests.record.states import archive_plan

    if archive >= steps:
        raise Trouble(
            f"checkpoint_archive: {archive} states, expected at most {steps - 1}: "
            f"the run has {counted(steps, 'step')}",
            "use fewer states, or leave the key out",
        )
    plan = [str(step) for step in archive_plan(steps, archive)]
    after = ", ".join(plan) if len(plan) <= _NAMED else f"{', '.join(plan[:3])}, … {plan[-1]}"
    each = checkpoint_bytes(manifest)
    return [
        f"{counted(archive, 'state')} kept besides the newest checkpoints, after "
        f"step{'s' * (archive != 1)} {after} of {steps}: about {size_text(each)} each, "
        f"{size_text(each * archive)} in all"
    ]
