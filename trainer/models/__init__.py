"""The networks, by the name of the key ``arch``."""

from __future__ import annotations

from typing import Callable, Dict

from trainer.models.alex import Alex
from trainer.models.classifier import Classifier
from trainer.models.googlenet import GoogLeNet
from trainer.models.googlenetbn import GoogLeNetBN
from trainer.models.nin import NIN
from trainer.models.resnet50 import ResNet50

#: nclasses -> network
MODELS: Dict[str, Callable[[int], Classifier]] = {
    "alex": Alex,
    "googlenet": GoogLeNet,
    "googlenetbn": GoogLeNetBN,
    "nin": NIN,
    "resnet50": ResNet50,
}
