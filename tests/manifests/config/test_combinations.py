from __future__ import annotations

from typing import Any, List

import pytest

from manifests.config.combinations import check_combinations, loader_warnings
from manifests.config.config_file import parse_config
from manifests.config.run_config import RunConfig
from manifests.record.schema import Loading


def config(**keys: Any) -> RunConfig:
    raw = {
        "arch": "nin", "nclasses": 8, "epoch": 3, "batchsize": 32, "train": "t/l", "val": "v/l",
        "mean.npy": "m", "out": "o", "stack": "cpu", **keys,
    }  # fmt: skip
    return parse_config(raw, "c.yaml")


def check(ranks: int = 1, train: int = 1000, val: int = 100, **keys: Any) -> List[str]:
    return check_combinations(
        config(**keys), limits=[], ranks=ranks, train_samples=train, val_samples=val
    )


def test_what_works() -> None:
    assert check(insize=67) == []
    assert check(ranks=31) == []
    assert check(optimizer="rmsprop_warmup", momentum=0.8, lr_batch=128) == []
    assert check(optimizer="adam", warmup_epochs=1, momentum=None) == []
    for communicator in ("naive", "flat"):
        assert check(stack="cuda12", communicator=communicator, share_gpus=True) == []
    assert check(share_gpus=False) == []
    assert check(loadtype="custom") == check(loadtype="custom", train_pack="x", val_pack="y") == []


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ({"communicator": "pure_nccl"}, [
            "communicator: pure_nccl reduces between GPUs and the stack cpu has none; use naive",
        ]),
        ({"stack": "cuda11"}, [
            "stack: no stack 'cuda11'; available: cpu, cuda12; did you mean cuda12?",
        ]),
        ({"stack": "cuda11", "insize": 66}, [
            "stack: no stack 'cuda11'; available: cpu, cuda12; did you mean cuda12?",
            "insize: 66 given, nin needs at least 67",
        ]),
        ({"precision": "mixed"}, [
            "precision: mixed needs GPUs and the stack cpu has none; use float32",
        ]),
        ({"nnodes": 2, "communicator": "single_node"}, [
            "communicator: single_node works on one node, nnodes is 2; "
            "use nnodes 1 or another communicator",
        ]),
        ({"share_gpus": True}, ["share_gpus: the stack cpu has no GPUs; leave it out"]),
        ({"share_gpus": True, "stack": "cuda12"}, [
            "share_gpus: pure_nccl uses NCCL, which refuses two ranks on one GPU; "
            "use flat or naive",
        ]),
        ({"share_gpus": True, "stack": "cuda12", "communicator": "ordered"}, [
            "share_gpus: ordered uses NCCL, which refuses two ranks on one GPU; use flat or naive",
        ]),
        ({"share_gpus": True, "stack": "cuda11"}, [
            "stack: no stack 'cuda11'; available: cpu, cuda12; did you mean cuda12?",
        ]),
        ({"optimizer": "adam", "momentum": 0.9}, [
            "momentum: adam does not use it; leave it out",
        ]),
        ({"optimizer": "rmsprop", "momentum": 0.9}, [
            "momentum: rmsprop does not use it; leave it out",
        ]),
        ({"optimizer": "rmsprop_warmup", "warmup_epochs": 5, "lr_decay_epochs": 30,
          "lr_decay_factor": 0.1}, [
            "lr_decay_factor: rmsprop_warmup does not use it; leave it out",
            "lr_decay_epochs: rmsprop_warmup does not use it; leave it out",
            "warmup_epochs: rmsprop_warmup does not use it; leave it out",
        ]),
        ({"train_pack": "x", "val_pack": "y"}, [
            "train_pack: loadtype original does not use it; leave it out",
            "val_pack: loadtype original does not use it; leave it out",
        ]),
        ({"insize": 66}, ["insize: 66 given, nin needs at least 67"]),
        ({"insize": 257}, ["insize: 257 given, the stored images have 256"]),
        ({"arch": "resnet50", "insize": 67}, [
            "insize: 67 given, resnet50 works with 224 only",
        ]),
        ({"ranks": 32}, [
            "batchsize: 32 ranks x 32 are 1024 samples per step, the training set has 1000; "
            "use fewer ranks or a smaller batchsize",
        ]),
        ({"ranks": 2, "val": 1}, [
            "val: the validation set has 1 sample for 2 ranks; use fewer ranks or more samples",
        ]),
    ],
)  # fmt: skip
def test_what_cannot_work(keys: Any, problems: List[str]) -> None:
    assert check(**keys) == problems


def test_unread_lists_are_not_judged() -> None:
    assert (
        check_combinations(config(), limits=[], ranks=10**6, train_samples=None, val_samples=None)
        == []
    )


@pytest.mark.parametrize(
    ("iterator", "loaderjob", "ranks", "cores", "found", "remedy"),
    [
        ("process", 5, 2, 8, "2 ranks x 5 are 10 loader processes on a node of 8 cores",
         "loaderjob 4"),
        ("thread", 9, 1, 8, "1 rank x 9 are 9 loader threads on a node of 8 cores", "loaderjob 8"),
        ("process", 1, 2, 1, "2 ranks x 1 are 2 loader processes on a node of 1 core",
         "fewer ranks or iterator serial"),
    ],
)  # fmt: skip
def test_more_loaders_than_cores(
    iterator: Any, loaderjob: int, ranks: int, cores: int, found: str, remedy: str
) -> None:
    assert loader_warnings(Loading(iterator=iterator, loaderjob=loaderjob), ranks, cores) == [
        f"loaderjob: {found}: they take turns, which makes the run slower and changes no bit; "
        f"use {remedy}"
    ]


@pytest.mark.parametrize(
    ("iterator", "loaderjob", "cores"), [("process", 4, 8), ("serial", 9, 2), ("thread", 9, None)]
)
def test_loaders_that_are_not_too_many(iterator: Any, loaderjob: int, cores: Any) -> None:
    assert loader_warnings(Loading(iterator=iterator, loaderjob=loaderjob), 2, cores) == []
