"""Published recipes: how networks were trained by their authors, as far as keys can say"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List


@dataclass(frozen=True)
class Published:
    """``values`` are keys of a config file. ``ranks`` and ``per_node`` are the GPUs it was done
    with, ``differs`` what no key can say."""

    title: str
    values: Dict[str, Any]
    ranks: int
    per_node: int
    sources: List[str]
    differs: List[str] = field(default_factory=list)


_CROPS = (
    "Training crops here: 224x224 out of the stored 256x256, at a random place, half of them "
    "mirrored"
)

RECIPES: Dict[str, Published] = {
    "goyal2017": Published(
        title="ResNet-50 in one hour: 256 GPUs, batches of 8192",
        values={
            "arch": "resnet50",
            "nclasses": 1000,
            "epoch": 90,
            "batchsize": 32,
            "optimizer": "momentum_sgd",
            "lr": 0.1,
            "lr_batch": 256,
            "momentum": 0.9,
            "weight_decay": 0.0001,
            "lr_decay_factor": 0.1,
            "lr_decay_epochs": 30,
            "warmup_epochs": 5,
            "communicator": "pure_nccl",
        },
        ranks=256,
        per_node=8,
        sources=[
            "Goyal et al. 2017, Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour "
            "(arXiv:1706.02677), sections 2 and 5.1"
        ],
        differs=[
            "The paper divides the rate by 10 after 30, 60 and 80 epochs; lr_decay_epochs has one "
            "interval, so here it is divided after 30 and 60 only",
            "The paper's momentum is Nesterov's; here it is the plain one",
            "The paper does not decay the scales and shifts of batch normalisation, and starts the "
            "last scale of each residual block at 0; here all parameters are decayed, and all "
            "scales start at 1",
            "The paper's networks have the stride of a stage in the 3x3 convolution; here the "
            "first 1x1 convolution has it",
            "The paper crops parts of random size and aspect ratio. " + _CROPS,
        ],
    ),
    "akiba2017": Published(
        title="ResNet-50 in fifteen minutes: 1024 GPUs, batches of 32768",
        values={
            "arch": "resnet50",
            "nclasses": 1000,
            "epoch": 90,
            "batchsize": 32,
            "optimizer": "rmsprop_warmup",
            "lr": 0.1,
            "lr_batch": 256,
            "momentum": 0.9,
            "weight_decay": 0.0001,
            "communicator": "pure_nccl",
        },
        ranks=1024,
        per_node=8,
        sources=[
            "Akiba, Suzuki, Fukuda 2017, Extremely Large Minibatch SGD: Training ResNet-50 on "
            "ImageNet in 15 Minutes (arXiv:1711.04325), section 3",
            "Its schedule belongs to rmsprop_warmup and needs no keys: half of lr x batch / 256 "
            "for 40 epochs, 0.075 of it for 30, 0.01 for 15, 0.001 for 5",
            "weight_decay: from memory, unverified in the paper",
        ],
        differs=[
            "The paper sends gradients between GPUs in half precision; here they are sent in the "
            "precision in which they were computed",
            "The paper's batch normalisation keeps no moving averages: its statistics for "
            "validation are averages over all ranks of the last batch; here each rank keeps "
            "moving averages, which are averaged over all ranks before validation",
            "The paper crops as Goyal et al. 2017 do. " + _CROPS,
        ],
    ),
    "googlenet": Published(
        title="GoogLeNet, with the schedule of its paper",
        values={
            "arch": "googlenet",
            "nclasses": 1000,
            "epoch": 250,
            "batchsize": 32,
            "optimizer": "momentum_sgd",
            "lr": 0.01,
            "momentum": 0.9,
            "weight_decay": 0.0002,
            "lr_decay_factor": 0.96,
            "lr_decay_epochs": 8,
        },
        ranks=1,
        per_node=1,
        sources=[
            "Szegedy et al. 2014, Going Deeper with Convolutions (arXiv:1409.4842), section 6: "
            "momentum 0.9, rate lowered by 4 % every 8 epochs",
            "Batch, rate, weight decay and length, which the paper does not give: solver of "
            "bvlc_googlenet in Caffe (steps of 320000 iterations of 32 images, 10000000 in all)",
        ],
        differs=[
            "The paper trains asynchronously on many machines; here a step is one of all ranks",
            "The paper averages the parameters of the last steps (Polyak) for validation; here "
            "those of the last step are used",
            "The paper crops 8 to 100 % of the area with aspect ratios from 3/4 to 4/3, and "
            "distorts colours. " + _CROPS,
            "The paper's error is that of 7 networks with 144 crops; here one network, one crop",
        ],
    ),
    "alexnet": Published(
        title="AlexNet, with the schedule of its paper",
        values={
            "arch": "alex",
            "nclasses": 1000,
            "epoch": 90,
            "batchsize": 128,
            "optimizer": "momentum_sgd",
            "lr": 0.01,
            "momentum": 0.9,
            "weight_decay": 0.0005,
            "lr_decay_factor": 0.1,
            "lr_decay_epochs": 23,
        },
        ranks=1,
        per_node=1,
        sources=[
            "Krizhevsky, Sutskever, Hinton 2012, ImageNet Classification with Deep Convolutional "
            "Neural Networks (NIPS 25), section 5: about 90 epochs, batches of 128"
        ],
        differs=[
            "The paper divides the rate by 10 when the validation error no longer falls, three "
            "times in all; no key can say when that is, so here it is divided after 23, 46 and 69 "
            "epochs (bvlc_alexnet in Caffe: every 20 epochs, with batches of 256)",
            "The paper divides the network between two GPUs; here one GPU computes both groups",
            "The paper adds noise along the principal components of the colours, and crops 224x224 "
            "out of 256x256; here crops are 227x227, half of them mirrored, without noise",
            "The paper averages ten crops of each test image; here one crop from the middle",
        ],
    ),
    "nin": Published(
        title="Network in Network, as its authors trained it on ImageNet",
        values={
            "arch": "nin",
            "nclasses": 1000,
            "epoch": 23,
            "batchsize": 64,
            "optimizer": "momentum_sgd",
            "lr": 0.01,
            "momentum": 0.9,
            "weight_decay": 0.0005,
            "lr_decay_factor": 0.1,
            "lr_decay_epochs": 10,
        },
        ranks=1,
        per_node=1,
        sources=[
            "Lin, Chen, Yan 2013, Network In Network (arXiv:1312.4400): the network",
            "Schedule, from memory, unverified: the authors' Caffe model for ImageNet (steps of "
            "200000 iterations of 64 images, 450000 in all: 10 and 22.5 epochs)",
        ],
        differs=[
            "The paper lowers the rate by hand when the accuracy no longer rises; no key can say "
            "when that is",
        ],
    ),
}
