"""Names and shapes of the networks' arrays, as ``manifests/record/network_shapes.json`` has them.

The host has no Chainer; a test holds that file against this. To write it anew, in the image:
``python3 -m trainer.models.shapes >manifests/record/network_shapes.json``.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Union

from manifests.record.network_shapes import CLASSES
from trainer.initial import named_arrays
from trainer.models import MODELS
from trainer.statistics import named_statistics

#: Two numbers of classes that no layer has for its size.
PROBES = (1009, 1013)

Shapes = Dict[str, List[Union[int, str]]]


def arrays_of(arch: str, nclasses: int) -> Dict[str, Dict[str, Any]]:
    """The arrays of a network that a model file may set: parameters, and running statistics."""
    model = MODELS[arch](nclasses)
    found = {"parameters": named_arrays(model), "statistics": named_statistics(model)}
    return {
        kind: {n.lstrip("/"): a.shape for n, a in arrays.items()} for kind, arrays in found.items()
    }


def shapes_of(arch: str) -> Dict[str, Shapes]:
    """A side that is the number of classes is CLASSES."""
    first, second = (arrays_of(arch, probe) for probe in PROBES)
    return {
        kind: {
            name: [a if a == b else CLASSES for a, b in zip(shape, second[kind][name])]
            for name, shape in arrays.items()
        }
        for kind, arrays in first.items()
    }


def text() -> str:
    """One line per array, so that a change can be read."""
    networks = []
    for arch in sorted(MODELS):
        kinds = []
        for kind, shapes in shapes_of(arch).items():
            lines = ",\n".join(
                f"   {json.dumps(name, allow_nan=False)}: {json.dumps(shape, allow_nan=False)}"
                for name, shape in sorted(shapes.items())
            )
            kinds.append(f'  "{kind}": {{\n{lines}\n  }}' if lines else f'  "{kind}": {{}}')
        networks.append(f' "{arch}": {{\n' + ",\n".join(kinds) + "\n }")
    return "{\n" + ",\n".join(networks) + "\n}\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(text())
