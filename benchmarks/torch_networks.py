"""The five networks of the trainer in PyTorch: the same layers, for the benchmark of a step.

Scores are a tuple, those of auxiliary classifiers first, as in trainer.models.auxiliary.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Scores = Tuple[Tensor, ...]


def relu_after(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU(inplace=True))))


def normalized(
    channels: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0
) -> nn.Module:
    """Without ReLU; momentum and eps are those of trainer.layers.normalized."""
    return nn.Sequential(
        nn.Conv2d(channels, outputs, kernel, stride, pad, bias=False),
        nn.BatchNorm2d(outputs, eps=2e-5, momentum=0.1),
    )


def pool(kernel: int, stride: int, pad: int = 0) -> nn.Module:
    return nn.MaxPool2d(kernel, stride, pad, ceil_mode=True)


class Alex(nn.Module):
    def __init__(self, nclasses: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(True), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)),
            pool(3, 2),
            *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(True)),
            *(nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0), pool(3, 2)),
            relu_after(
                nn.Conv2d(256, 384, 3, padding=1),
                nn.Conv2d(384, 384, 3, padding=1, groups=2),
                nn.Conv2d(384, 256, 3, padding=1, groups=2),
            ),
            *(pool(3, 2), nn.Flatten()),
            *(nn.Linear(9216, 4096), nn.ReLU(True), nn.Dropout(0.5)),
            *(nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(0.5)),
            nn.Linear(4096, nclasses),
        )

    def forward(self, x: Tensor) -> Scores:
        return (self.body(x),)


class NIN(nn.Module):
    def __init__(self, nclasses: int) -> None:
        super().__init__()

        def block(
            channels: int, widths: Tuple[int, ...], kernel: int, stride: int, pad: int
        ) -> Any:
            return (
                *(nn.Conv2d(channels, widths[0], kernel, stride, pad), nn.ReLU(True)),
                *(nn.Conv2d(widths[0], widths[1], 1), nn.ReLU(True)),
                nn.Conv2d(widths[1], widths[2], 1),
            )

        self.body = nn.Sequential(
            *(*block(3, (96, 96, 96), 11, 4, 0), nn.ReLU(True), pool(3, 2)),
            *(*block(96, (256, 256, 256), 5, 1, 2), nn.ReLU(True), pool(3, 2)),
            *(*block(256, (384, 384, 384), 3, 1, 1), nn.ReLU(True), pool(3, 2)),
            nn.Dropout(0.5),
            *block(384, (1024, 1024, nclasses), 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Scores:
        return (self.body(x).mean(dim=(2, 3)),)


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.path = nn.Sequential(
            *(normalized(channels, width, 1, stride), nn.ReLU(True)),
            *(normalized(width, width, 3, pad=1), nn.ReLU(True)),
            normalized(width, outputs, 1),
        )
        same = channels == outputs
        self.shortcut = nn.Identity() if same else normalized(channels, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.path(x) + self.shortcut(x), inplace=True)


class ResNet50(nn.Module):
    def __init__(self, nclasses: int) -> None:
        super().__init__()
        layers = [normalized(3, 64, 7, 2, 3), nn.ReLU(True), pool(3, 2)]
        channels = 64
        for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for number in range(blocks):
                layers.append(Bottleneck(channels, width, stride if number == 0 else 1))
                channels = 4 * width
        self.body = nn.Sequential(*layers)
        self.out = nn.Linear(channels, nclasses)

    def forward(self, x: Tensor) -> Scores:
        return (self.out(self.body(x).mean(dim=(2, 3))),)


class Branches(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def inception(
    channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int, last: int
) -> nn.Module:
    return nn.Sequential(
        Branches(
            nn.Conv2d(channels, one, 1),
            nn.Sequential(
                *(nn.Conv2d(channels, reduce3, 1), nn.ReLU(True)),
                nn.Conv2d(reduce3, three, 3, padding=1),
            ),
            nn.Sequential(
                *(nn.Conv2d(channels, reduce5, 1), nn.ReLU(True)),
                nn.Conv2d(reduce5, five, 5, padding=2),
            ),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(channels, last, 1)),
        ),
        nn.ReLU(True),
    )


class Inceptions(nn.Module):
    """``early`` and ``late`` are seen by the auxiliary classifiers, in training only."""

    stem: nn.Module
    early: nn.Module
    late: nn.Module
    end: nn.Module
    head1: nn.Module
    head2: nn.Module

    def forward(self, x: Tensor) -> Scores:
        early = self.early(self.stem(x))
        late = self.late(early)
        scores = self.end(late)
        return (self.head1(early), self.head2(late), scores) if self.training else (scores,)


class GoogLeNet(Inceptions):
    def __init__(self, nclasses: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *(nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(True), pool(3, 2)),
            nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),
            relu_after(nn.Conv2d(64, 64, 1), nn.Conv2d(64, 192, 3, padding=1)),
            *(nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0), pool(3, 2)),
            inception(192, 64, 96, 128, 16, 32, 32),
            inception(256, 128, 128, 192, 32, 96, 64),
            pool(3, 2),
        )
        self.early = inception(480, 192, 96, 208, 16, 48, 64)
        self.late = nn.Sequential(
            inception(512, 160, 112, 224, 24, 64, 64),
            inception(512, 128, 128, 256, 24, 64, 64),
            inception(512, 112, 144, 288, 32, 64, 64),
        )
        self.end = nn.Sequential(
            inception(528, 256, 160, 320, 32, 128, 128),
            pool(3, 2),
            inception(832, 256, 160, 320, 32, 128, 128),
            inception(832, 384, 192, 384, 48, 128, 128),
            *(nn.AvgPool2d(7), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, nclasses)),
        )
        self.head1, self.head2 = (self.head(channels, nclasses) for channels in (512, 528))

    @staticmethod
    def head(channels: int, nclasses: int) -> nn.Module:
        return nn.Sequential(
            *(nn.AvgPool2d(5, 3), nn.Conv2d(channels, 128, 1), nn.ReLU(True), nn.Flatten()),
            *(nn.Linear(2048, 1024), nn.ReLU(True), nn.Dropout(0.7), nn.Linear(1024, nclasses)),
        )


def double(channels: int, reduced: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        *(normalized(channels, reduced, 1), nn.ReLU(True)),
        *(normalized(reduced, outputs, 3, 1, 1), nn.ReLU(True)),
        normalized(outputs, outputs, 3, stride, 1),
    )


def single(channels: int, reduced: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        *(normalized(channels, reduced, 1), nn.ReLU(True)),
        normalized(reduced, outputs, 3, stride, 1),
    )


def inception_bn(
    channels: int, *widths: int, pooling: Callable[..., nn.Module] = nn.AvgPool2d
) -> nn.Module:
    one, reduce3, three, reduce_double, outputs, last = widths
    return nn.Sequential(
        Branches(
            normalized(channels, one, 1),
            single(channels, reduce3, three),
            double(channels, reduce_double, outputs),
            nn.Sequential(pooling(3, 1, 1), normalized(channels, last, 1)),
        ),
        nn.ReLU(True),
    )


def reduction_bn(channels: int, *widths: int) -> nn.Module:
    reduce3, three, reduce_double, outputs = widths
    return Branches(
        nn.Sequential(single(channels, reduce3, three, 2), nn.ReLU(True)),
        nn.Sequential(double(channels, reduce_double, outputs, 2), nn.ReLU(True)),
        pool(3, 2),
    )


class GoogLeNetBN(Inceptions):
    def __init__(self, nclasses: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *(normalized(3, 64, 7, 2, 3), nn.ReLU(True), pool(3, 2)),
            *(normalized(64, 64, 1), nn.ReLU(True)),
            *(normalized(64, 192, 3, 1, 1), nn.ReLU(True), pool(3, 2)),
            inception_bn(192, 64, 64, 64, 64, 96, 32),
            inception_bn(256, 64, 64, 96, 64, 96, 64),
            reduction_bn(320, 128, 160, 64, 96),
        )
        self.early = inception_bn(576, 224, 64, 96, 96, 128, 128)
        self.late = nn.Sequential(
            inception_bn(576, 192, 96, 128, 96, 128, 128),
            inception_bn(576, 160, 128, 160, 128, 160, 128),
            inception_bn(608, 96, 128, 192, 160, 192, 128),
        )
        self.end = nn.Sequential(
            reduction_bn(608, 128, 192, 192, 256),
            inception_bn(1056, 352, 192, 320, 160, 224, 128),
            inception_bn(1024, 352, 192, 320, 192, 224, 128, pooling=nn.MaxPool2d),
            *(nn.AvgPool2d(7), nn.Flatten(), nn.Linear(1024, nclasses)),
        )
        self.head1, self.head2 = (self.head(channels, nclasses) for channels in (576, 608))

    @staticmethod
    def head(channels: int, nclasses: int) -> nn.Module:
        return nn.Sequential(
            *(nn.AvgPool2d(5, 3), normalized(channels, 128, 1), nn.ReLU(True), nn.Flatten()),
            *(nn.Linear(2048, 1024, bias=False), nn.BatchNorm1d(1024, eps=2e-5, momentum=0.1)),
            *(nn.ReLU(True), nn.Linear(1024, nclasses)),
        )


NETWORKS: Dict[str, Callable[[int], nn.Module]] = {
    "alex": Alex,
    "googlenet": GoogLeNet,
    "googlenetbn": GoogLeNetBN,
    "nin": NIN,
    "resnet50": ResNet50,
}
