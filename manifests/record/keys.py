"""The legal values of the keys that choose code, and facts of their networks and images."""

from __future__ import annotations

from typing import Any, Dict, Tuple, get_args

from typing_extensions import Literal

Arch = Literal["alex", "googlenet", "googlenetbn", "nin", "resnet50"]
Communicator = Literal[
    "pure_nccl", "hierarchical", "two_dimensional", "single_node", "flat", "naive", "ordered"
]
LoadType = Literal["original", "custom"]
Iterator = Literal["serial", "thread", "process"]
OptimizerName = Literal["momentum_sgd", "adam", "rmsprop_warmup", "rmsprop"]
Precision = Literal["float32", "mixed"]


def values_of(key_type: Any) -> Tuple[str, ...]:
    """The legal values of one of the types above, in their order."""
    return get_args(key_type)


#: (smallest, paper's own) side of the square input in pixels, per network.
INPUT_SIDE: Dict[str, Tuple[int, int]] = {
    "alex": (227, 227),
    "googlenet": (224, 224),
    "googlenetbn": (224, 224),
    "nin": (67, 227),
    "resnet50": (224, 224),
}

#: Side in pixels of the stored images and of the mean image (ImageNet practice: short side
#: scaled to 256, centre 256x256 kept; Krizhevsky et al. 2012, section 2).
IMAGE_SIDE = 256

#: Bytes of one unpacked colour profile or note in a PNG file, on both sides of the container.
PNG_TEXT_LIMIT = 2**26
