"""Steps of small networks that are made of the layers of all five: prints a digest of each step.

Run by the image's Python, as it is and on a processor that QEMU emulates: the lines must be the
same. Channels and images are few, because emulated arithmetic is some hundred times slower;
kernels, strides, groups and the methods of convolution are those of the networks.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import chainer
import chainer.functions as F
import numpy as np

from manifests.record import schema
from manifests.record.canonical_json import digest_of
from trainer.data import TrainingBatch
from trainer.digest import tensor_digests
from trainer.initial import named_arrays, named_gradients, set_initial
from trainer.layers.convolution import Convolution2D
from trainer.layers.draws import Draws
from trainer.layers.linear import Linear
from trainer.layers.lrn import local_response_normalization
from trainer.layers.normalized import NormalizedConvolution
from trainer.layers.pooling import average_pooling_2d, global_average, max_pooling_2d
from trainer.loop import gradients
from trainer.models.classifier import Classifier
from trainer.models.googlenet import Inception
from trainer.models.googlenetbn import NormalizedInception, StridedInception
from trainer.models.nin import MlpConv
from trainer.models.resnet50 import Bottleneck
from trainer.optimizers import OPTIMIZERS
from trainer.order import StreamPosition

CLASSES, BATCH, SIDE, STEPS = 3, 2, 35, 3


class Small(Classifier):
    """Layers one after another; ``forward`` of each gets the output of the one before."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.order: List[Callable[[Any, Optional[Draws]], Any]] = []
        with self.init_scope():
            for place, layer in enumerate(layers):
                if isinstance(layer, chainer.Link):
                    setattr(self, f"layer{place}", layer)
        for place, layer in enumerate(layers):
            self.order.append(self._call(place, layer))

    def _call(self, place: int, layer: Any) -> Callable[[Any, Optional[Draws]], Any]:
        if layer == "dropout":
            return lambda x, draws: draws.dropout(x, 0.5, f"layer{place}") if draws else x
        if isinstance(layer, (Convolution2D, NormalizedConvolution, MlpConv)):
            return lambda x, draws: self[f"layer{place}"](x, relu=True)
        if isinstance(layer, chainer.Link):
            return lambda x, draws: self[f"layer{place}"](x)
        return lambda x, draws: layer(x)

    def forward(self, x: Any, draws: Optional[Draws] = None) -> chainer.Variable:
        for act in self.order:
            x = act(x, draws)
        return x


def pooled(x: Any) -> Any:
    return max_pooling_2d(x, 3, 2)


def networks() -> Dict[str, Callable[[], Small]]:
    """By the network that the layers are from."""
    return {
        "alex": lambda: Small(
            Convolution2D(3, 8, 11, stride=4), local_response_normalization, pooled,
            Convolution2D(8, 64, 5, pad=2, groups=2, bias=1), local_response_normalization,
            Convolution2D(64, 64, 3, pad=1, groups=2, bias=1), pooled,
            Linear(64, 16, bias=1), F.relu, "dropout", Linear(16, CLASSES),
        ),
        "nin": lambda: Small(
            MlpConv(3, (8, 8, 8), kernel=11, stride=4, pad=0), pooled,
            MlpConv(8, (32, 32, 32), kernel=5, stride=1, pad=2), "dropout",
            MlpConv(32, (8, 8, CLASSES), kernel=3, stride=1, pad=1), global_average,
        ),
        "googlenet": lambda: Small(
            Convolution2D(3, 8, 7, stride=2, pad=3), pooled, local_response_normalization,
            Inception(8, 4, 32, 4, 4, 4, 4), lambda x: average_pooling_2d(x, 5, 3),
            global_average, Linear(16, CLASSES),
        ),
        "googlenetbn": lambda: Small(
            NormalizedConvolution(3, 8, 7, stride=2, pad=3),
            NormalizedInception(8, 4, 4, 4, 4, 4, 4), StridedInception(16, 4, 4, 4, 4),
            NormalizedInception(24, 4, 32, 4, 4, 4, 4, average=False), global_average,
            Linear(16, CLASSES),
        ),
        "resnet50": lambda: Small(
            NormalizedConvolution(3, 8, 7, stride=2, pad=3), pooled, Bottleneck(8, 4, 1),
            Bottleneck(16, 32, 2), Bottleneck(128, 32, 1), global_average, Linear(128, CLASSES),
        ),
    }  # fmt: skip


#: Each network with another update rule; the fifth with the first again.
RULES = ("momentum_sgd", "adam", "rmsprop", "rmsprop_warmup", "momentum_sgd")


def batch_of(step: int) -> TrainingBatch:
    generator = np.random.Generator(np.random.Philox(step))
    images = generator.uniform(-0.5, 0.5, (BATCH, 3, SIDE, SIDE)).astype(np.float32)
    labels = np.arange(BATCH, dtype=np.int32) % CLASSES
    return TrainingBatch(images, labels, [StreamPosition(0, k) for k in range(BATCH)])


def main() -> None:
    for (name, make), rule in zip(networks().items(), RULES):
        model = make()
        set_initial(model, 3, model.initial_limit)
        settings = schema.Optimizer(name=rule, lr=0.01)
        optimizer = OPTIMIZERS[rule](model, settings)
        for step in range(1, STEPS + 1):
            loss, _ = gradients(model, batch_of(step), 0)
            found = digest_of(tensor_digests(named_gradients(model)))
            optimizer.update(0.01, step / STEPS, step)
            state = digest_of(tensor_digests(named_arrays(model)))
            print(name, rule, step, loss.hex(), found, state, flush=True)


if __name__ == "__main__":
    main()
