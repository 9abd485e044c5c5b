"""What `rerun --with` takes: whole messages where it cannot, and what identities become."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.config.recorded import recorded_keys
from manifests.flows.recorded_data import data_moved
from manifests.flows.swap import NEXT_STEP, NOTHING, Swap, parse_swap
from manifests.flows.swapped import listed_paths, swap_in
from manifests.host.context import HostContext, read_host_context
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.verdict.swapped_parts import swapped_parts
from tests.records import manifest

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def host() -> HostContext:
    return read_host_context(PROJECT, Silent())


def checkout(folder: Path) -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / "trainer").mkdir()
    (folder / "trainer" / "__main__.py").touch()
    return folder


def parsed(*texts: str, folder: Path = Path("/here")) -> Swap:
    return parse_swap(texts, PROJECT, folder, Path("/home/ada"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("banana", "expected code, image, data or KEY=VALUE"),
        ("cdoe", "expected code, image, data or KEY=VALUE; did you mean code?"),
        ("seed=", "expected code, image, data or KEY=VALUE"),
        ("=1", "expected code, image, data or KEY=VALUE"),
        ("data=/x", "expected code, image, data or KEY=VALUE"),
        ("code=", "expected code, image, data or KEY=VALUE"),
        ("sed=1", "sed is not a known key; did you mean seed?"),
        ("training.seed=1", "training.seed is not a known key; did you mean seed?"),
        ("site=x", "site is not a part of what a run computes"),
        ("nodetype=x", "nnodetype is not a part of what a run computes"),
        ("resume=x", "resume is not a part of what a run computes"),
        ("train=~bob/x", "write ~bob as a whole path: only ~/ is expanded"),
    ],
)
def test_what_cannot_be_swapped_is_named(text: str, problem: str) -> None:
    with pytest.raises(Trouble) as caught:
        parsed(text)
    assert str(caught.value) == f"--with {text}: {problem}\n-> {NEXT_STEP}"


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as caught:
        parse_swap(["code", "x", "seed=1", "seed=2"], tmp_path, tmp_path)
    assert caught.value.problems == [
        "--with x: expected code, image, data or KEY=VALUE",
        "--with seed=2: seed is given twice",
        f"--with code: {tmp_path} is not a git checkout: its code has no commit",
    ]
    (tmp_path / ".git").mkdir()
    with pytest.raises(Trouble) as caught:
        parse_swap(["code"], tmp_path, tmp_path)
    assert caught.value.problems == [
        f"--with code: {tmp_path} is not a checkout of bundle: it has no trainer"
    ]
    with pytest.raises(Trouble) as caught:
        parse_swap(["image=sub"], PROJECT, tmp_path)
    assert caught.value.problems == [
        f"--with image: {tmp_path / 'sub'} is not a checkout of bundle: it has no locks"
    ]


def test_what_is_swapped(tmp_path: Path) -> None:
    swap = parsed(
        f"code={checkout(tmp_path / 'b')}", "image", "lr=0.5", "mean=m.npy", "train=~/a: b"
    )
    assert dict(swap.places) == {"code": tmp_path / "b", "image": PROJECT}
    assert dict(swap.keys) == {"lr": 0.5, "mean.npy": "/here/m.npy", "train": "/home/ada/a: b"}
    assert swap.parts == {"code", "image", "data"}
    assert swap.texts == ("code", "image", "lr=0.5", "mean=m.npy", "train=~/a: b")
    assert parsed("stack=cuda12").parts == {"image"}
    assert parsed("initmodel=null").keys == {"initmodel": None}
    assert NOTHING.parts == frozenset()


# --- the manifest with swapped keys ---------------------------------------------------------


def swapped(tmp_path: Path, host: HostContext, *texts: str) -> Manifest:
    recorded = Manifest.model_validate_json(json.dumps(manifest().model_dump(mode="json")))
    old = RunFiles(tmp_path)
    swap = parsed(*texts)
    found = swap_in(swap, old, recorded, recorded.circumstance, {}, host, read_only=True)
    return found.manifest


def differences(manifest_: Manifest) -> Dict[str, List[Any]]:
    before, after = recorded_keys(manifest()), recorded_keys(manifest_)
    return {key: [before[key], after[key]] for key in before if before[key] != after[key]}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["seed=7"], {"seed": [0, 7]}),
        (["epoch=2", "lr=1e-3"], {"epoch": [1, 2], "lr": [0.01, 0.001]}),
        (["optimizer=adam"], {"optimizer": ["momentum_sgd", "adam"]}),
        (["batchsize=2"], {"batchsize": [4, 2]}),  # the recorded val_batchsize stays
        (["lr_batch=256"], {"lr_batch": [None, 256]}),
        (["ranks_per_node=1"], {"ranks_per_node": [2, 1]}),
        (["test=true", "loaderjob=3"], {"test": [False, True], "loaderjob": [1, 3]}),
        (
            ["checkpoints_kept=5", "checkpoint_archive=3"],
            {"checkpoints_kept": [2, 5], "checkpoint_archive": [None, 3]},
        ),
        (["seed=0"], {}),
    ],
)
def test_only_what_is_named_becomes_another(
    tmp_path: Path, host: HostContext, texts: List[str], expected: Dict[str, List[Any]]
) -> None:
    changed = swapped(tmp_path, host, *texts)
    assert differences(changed) == expected
    assert changed.identity_digest == changed.identity.digest()
    identity = {"test", "loaderjob", "checkpoints_kept"}.isdisjoint(expected) and expected
    assert (changed.identity != manifest().identity) == bool(identity)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["lr=abc"],
            "--with lr: found 'abc' (text), expected a number > 0\n-> " + NEXT_STEP,
        ),
        (
            ["arch=alex"],
            "--with insize: 67 given, alex works with 227 only\n-> swap these keys too, or none of "
            "them; what is not swapped is as the run has it",
        ),
        (
            ["batchsize=40"],
            "--with batchsize: 2 ranks x 40 are 80 samples per step, the training set has 8; use "
            "fewer ranks or a smaller batchsize\n-> swap these keys too, or none of them; what is "
            "not swapped is as the run has it",
        ),
    ],
)
def test_values_that_cannot_be_are_named(
    tmp_path: Path, host: HostContext, texts: List[str], message: str
) -> None:
    with pytest.raises(Trouble) as caught:
        swapped(tmp_path, host, *texts)
    assert str(caught.value) == message


def test_a_setting_that_the_runs_trainer_does_not_know(tmp_path: Path, host: HostContext) -> None:
    """It would pass over it in silence, and the verdict would be on nothing."""
    recorded = manifest()
    old_identity = recorded.identity.model_dump(mode="json")
    del old_identity["training"]["optimizer"]["lr_batch"]
    values = {**recorded.model_dump(mode="json"), "identity": old_identity}
    recorded = Manifest.model_validate_json(json.dumps(values))
    with pytest.raises(Trouble) as caught:
        swap_in(
            parsed("lr_batch=8"), RunFiles(tmp_path), recorded, recorded.circumstance, {}, host,
            read_only=True,
        )  # fmt: skip
    assert str(caught.value) == (
        "--with lr_batch: the trainer in the run's snapshot is from before that key\n"
        "-> swap the code too: --with code"
    )


def test_lists_are_where_the_config_says_or_where_they_moved(
    tmp_path: Path, host: HostContext
) -> None:
    old = RunFiles(tmp_path)
    old.config.write_text("train: lists/t.txt\nval: /v.txt\nmean: ~/m.npy\n")
    recorded = manifest()
    listed = listed_paths(parsed("data"), old, recorded, replace(host, environ={"HOME": "/h"}))
    assert listed == ["/home/ada/lists/t.txt", "/v.txt", "/h/m.npy"]
    moved = {"/home/ada/lists": "/new"}
    assert data_moved(recorded.circumstance, moved, listed) == recorded.circumstance
    with pytest.raises(Trouble) as caught:
        data_moved(recorded.circumstance, moved)
    assert caught.value.problems == [
        "--data /home/ada/lists=/new: no recorded data lies below /home/ada/lists"
    ]
    with pytest.raises(Trouble) as caught:
        swap_in(parsed("data"), old, recorded, recorded.circumstance, moved, host, read_only=True)
    assert caught.value.problems[0] == "/new/t.txt: cannot be read: No such file or directory"


def test_what_was_swapped_is_told(tmp_path: Path, host: HostContext) -> None:
    changed = swapped(tmp_path, host, "seed=7", "test=false", "checkpoint_interval=3")
    texts = ["seed=7", "test=false", "checkpoint_interval=3", "data", "image", "code"]
    circumstance = changed.circumstance.model_copy(update={"swapped": texts})
    again = changed.model_copy(update={"circumstance": circumstance})
    assert [(part.text, part.differs) for part in swapped_parts(manifest(), again)] == [
        ("seed: 0 | 7", True),
        ("test: false | false", False),
        ("checkpoint_interval: null | 3", True),
        ("data: the same images, labels, order and mean", False),
        ("image: the same, cpu 111111111111", False),
        ("code (no commit | no commit): no file that ranks execute differs", False),
    ]
