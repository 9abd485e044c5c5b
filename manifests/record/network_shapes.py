"""Names and shapes of the networks' arrays, for a host that has no Chainer.

They are kept in ``network_shapes.json``, written by ``trainer.models.shapes``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, NamedTuple, Tuple

#: Stands for the number of classes in a shape.
CLASSES = "nclasses"

SHAPES_FILE = Path(__file__).with_name("network_shapes.json")

Shapes = Dict[str, Tuple[int, ...]]


class NetworkShapes(NamedTuple):
    """Name in a model file -> shape. ``statistics`` are those of batch normalisation."""

    parameters: Shapes
    statistics: Shapes


def network_shapes(arch: str, nclasses: int) -> NetworkShapes:
    kept = json.loads(SHAPES_FILE.read_text(encoding="utf-8"))[arch]
    return NetworkShapes(
        *(
            {
                name: tuple(nclasses if side == CLASSES else side for side in shape)
                for name, shape in kept[kind].items()
            }
            for kind in ("parameters", "statistics")
        )
    )
