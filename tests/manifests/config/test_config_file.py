"""Every key, in both notations; every wrong one with its whole message."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Dict, List

import pytest

from container.trouble import Trouble
from manifests.config import run_config as config_module
from manifests.config.config_file import ALIASES, NEXT_STEP, known_keys, parse_config, read_config
from manifests.config.run_config import loading, observing, placement, training
from manifests.record.schema import Author, Loading, Observing, Optimizer, Placement, Training

SMALL: Dict[str, Any] = {
    "arch": "nin",
    "nclasses": 8,
    "epoch": 3,
    "batchsize": 32,
    "train": "d/train.txt",
    "val": "/v/val.txt",
    "mean.npy": "mean.npy",
    "out": "runs",
}

EVERY: Dict[str, Any] = {
    **SMALL,
    "nnodetype": "f_node",
    "nnodes": 4,
    "walltime": "10:00:00",
    "jobname": "my-job_1.a",
    "stdout": "out.$JOB_ID",
    "stderr": "err.$JOB_ID",
    "others": {"j": "y", "p": -5, "cwd": None},
    "modules": {"cuda": "cuda/8.0.61", "mpi": "openmpi/2.1.2"},
    "loaderjob": 7,
    "resume": "snapshot",
    "initmodel": "model.npz",
    "test": True,
    "communicator": "flat",
    "loadtype": "custom",
    "iterator": "thread",
    "optimizer": "adam",
    "train_root": "images",
    "val_root": "/v/images",
    "train_pack": "images.pack",
    "val_pack": "/v/images.pack",
    "lr": 0.5,
    "site": "tsubame3",
    "group": "tga-x",
    "stack": "cuda12",
    "seed": 5,
    "ranks_per_node": 2,
    "processes": 3,
    "share_gpus": True,
    "val_batchsize": 16,
    "lr_batch": 512,
    "momentum": 0.5,
    "weight_decay": 0,
    "lr_decay_factor": 0.5,
    "lr_decay_epochs": 1.5,
    "warmup_epochs": 2,
    "precision": "mixed",
    "insize": 67,
    "trail_interval": 3,
    "snapshot_limit": 7,
    "checkpoint_minutes": 2.5,
    "checkpoint_interval": 100,
    "checkpoints_kept": 5,
    "authors": ["Ada Lovelace", {"name": "Bob", "orcid": "0000-0002-1825-0097"}],
    "license": "CC-BY-4.0",
    "checkpoint_archive": 4,
}


def problems_of(raw: Any, where: str = "c.yaml") -> List[str]:
    with pytest.raises(Trouble) as caught:
        parse_config(raw, where)
    assert caught.value.next_step == NEXT_STEP
    return caught.value.problems


def test_every_key_is_tried_here() -> None:
    assert set(EVERY) == set(known_keys())


def test_defaults_of_a_small_config() -> None:
    config = parse_config(SMALL, "/x/My digits, v2!.yaml", folder=Path("/c"))
    assert config.train == Path("/c/d/train.txt")
    assert config.train_root == Path("/c/d")
    assert config.val_root == Path("/v")
    assert (config.train_pack, config.val_pack) == (Path("/c/d/train.pack"), Path("/v/val.pack"))
    assert config.mean == Path("/c/mean.npy")
    assert config.out == Path("/c/runs")
    assert (config.resume, config.initmodel, config.modules) == (None, None, [])
    assert training(config) == Training(
        arch="nin",
        nclasses=8,
        insize=227,
        epochs=3,
        batchsize=32,
        val_batchsize=32,
        optimizer=Optimizer(name="momentum_sgd", lr=0.01),
        communicator="pure_nccl",
        precision="float32",
        seed=0,
    )
    assert config.stack == "cuda12"
    assert loading(config) == Loading(loadtype="original", iterator="process", loaderjob=1)
    assert observing(config) == Observing(test=False, trail_interval=20)
    assert placement(config) == Placement(site="local", jobname="My-digits-v2")


def test_communicator_defaults_to_naive_on_the_cpu() -> None:
    assert parse_config({**SMALL, "stack": "cpu"}, "c").communicator == "naive"


@pytest.mark.parametrize("name", ["c.yaml", "c.json"])
def test_every_key_in_yaml_and_json(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps(EVERY))
    config = read_config(tmp_path / name, home=None)
    assert placement(config) == Placement(
        site="tsubame3",
        jobname="my-job_1.a",
        nodetype="f_node",
        walltime="10:00:00",
        group="tga-x",
        stdout="out.$JOB_ID",
        stderr="err.$JOB_ID",
        others={"j": "y", "p": "-5", "cwd": ""},
        modules=["cuda/8.0.61", "openmpi/2.1.2"],
        share_gpus=True,
    )
    assert loading(config) == Loading(loadtype="custom", iterator="thread", loaderjob=7)
    assert observing(config) == Observing(test=True, trail_interval=3)
    assert training(config).optimizer == Optimizer(
        name="adam",
        lr=0.5,
        lr_batch=512,
        momentum=0.5,
        weight_decay=0,
        lr_decay_factor=0.5,
        lr_decay_epochs=1.5,
        warmup_epochs=2,
    )
    assert config.train_root == tmp_path / "images"
    assert (config.train_pack, config.val_pack) == (
        tmp_path / "images.pack",
        Path("/v/images.pack"),
    )
    assert config.resume == tmp_path / "snapshot"
    assert (config.nnodes, config.ranks_per_node, config.stack) == (4, 2, "cuda12")


def test_plain_yaml_words_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    small = "".join(f"{key}: {value}\n" for key, value in SMALL.items())
    path.write_text(
        small + "walltime: 10:00:00\njobname: off\nlr: 1e-3\nothers: {j: y, k: no, l: 007}\n"
    )
    config = read_config(path, home=None)
    assert config.walltime == "10:00:00"
    assert config.jobname == "off"
    assert config.lr == 0.001
    assert config.others == {"j": "y", "k": "no", "l": "007"}


def test_aliases_of_the_original_samples() -> None:
    raw = {**SMALL, "nodetype": "q_node", "mean": "m.npy"}
    del raw["mean.npy"]
    config = parse_config(raw, "c")
    assert (config.nnodetype, config.mean) == ("q_node", Path("/m.npy"))
    assert ALIASES == {"nodetype": "nnodetype", "mean": "mean.npy"}


def test_null_is_as_good_as_absent() -> None:
    optional = {key: None for key in EVERY if key not in SMALL}
    assert parse_config({**SMALL, **optional}, "c") == parse_config(SMALL, "c")


def test_home_is_only_replaced_where_it_leads() -> None:
    raw = {**SMALL, "out": "~/runs", "train": "a~/t"}
    config = parse_config(raw, "c", folder=Path("/f"), home=Path("/home/me"))
    assert (config.out, config.train) == (Path("/home/me/runs"), Path("/f/a~/t"))
    assert parse_config({**SMALL, "out": "~"}, "c", home=Path("/home/me")).out == Path("/home/me")


def test_what_is_not_a_home_folder_is_refused() -> None:
    raw = {**SMALL, "out": "~ada/runs", "train": "~/t", "modules": "~/mods"}
    with pytest.raises(Trouble) as caught:
        parse_config(raw, "c.yaml")
    unset = "write the whole path: HOME is not set, so ~/ means nothing here"
    assert caught.value.problems == [
        f"c.yaml: modules: found '~/mods' (text), expected the path of a file, or a mapping of "
        f"name to module; {unset}",
        f"c.yaml: train: found '~/t' (text), expected the path of a list file; {unset}",
        "c.yaml: out: found '~ada/runs' (text), expected the path of a folder; "
        "write ~ada as a whole path: only ~/ is expanded",
    ]


def test_modules_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mods").write_text(
        "#!/bin/sh\n. /etc/profile.d/modules.sh\n\nmodule load cuda/8.0.61 nccl # GPUs\nopenmpi\n"
    )
    config = parse_config({**SMALL, "modules": "mods"}, "c", folder=tmp_path)
    assert config.modules == ["cuda/8.0.61", "nccl", "openmpi"]


def test_modules_file_with_other_commands(tmp_path: Path) -> None:
    (tmp_path / "mods").write_text("module load a\nrm -rf /\nmodule load $X\n")
    with pytest.raises(Trouble) as caught:
        parse_config({**SMALL, "modules": "mods"}, "c.yaml", folder=tmp_path)
    assert caught.value.problems == [
        f"c.yaml: modules: {tmp_path}/mods, line 2: found 'rm -rf /', "
        "expected a module name or `module load NAME`",
        f"c.yaml: modules: {tmp_path}/mods, line 3: found 'module load $X', "
        "expected a module name or `module load NAME`",
    ]


def test_modules_file_that_is_missing() -> None:
    assert problems_of({**SMALL, "modules": "/no/mods"}) == [
        "c.yaml: modules: /no/mods: cannot be read: No such file or directory"
    ]


def test_all_problems_at_once() -> None:
    raw = {
        "arch": "nim",
        "epochs": 3,
        "batchsize": "32",
        "mean": "x",
        "mean.npy": "y",
        "train": "",
        "others": {"j": True, "k": [1]},
        "modules": {"a": "b c"},
        "nnodes": True,
        "jobname": 5,
        "walltime": "10:99:00",
        "test": "y",
        "lr": float("nan"),
        "out": "a\nb",
        3: 4,
    }
    assert problems_of(raw) == [
        "c.yaml: epochs: is not a known key; did you mean epoch?",
        "c.yaml: mean: is given besides mean.npy, which means the same; keep one",
        "c.yaml: 3: is not a known key",
        "c.yaml: modules.a: found 'b c' (text), expected the name of a module",
        "c.yaml: arch: found 'nim' (text), expected one of alex, googlenet, googlenetbn, nin, "
        "resnet50; did you mean nin?",
        "c.yaml: nclasses: is missing, expected a whole number >= 1",
        "c.yaml: epoch: is missing, expected a whole number from 1 to 1000000",
        "c.yaml: batchsize: found '32' (text), expected a whole number >= 1 (samples per rank)",
        "c.yaml: lr: found nan (a number), expected a number > 0",
        "c.yaml: train: found '' (text), expected the path of a list file",
        "c.yaml: val: is missing, expected the path of a list file",
        "c.yaml: out: found 'a\\nb' (text), expected the path of a folder",
        "c.yaml: test: found 'y' (text), expected true, false or null",
        "c.yaml: jobname: found 5 (a number), expected up to 64 letters, digits, dots, dashes and "
        "underscores, the first one a letter or a digit; write it in quotes",
        "c.yaml: nnodes: found true (a boolean), expected a whole number >= 1",
        "c.yaml: walltime: found '10:99:00' (text), expected hours, minutes and seconds as "
        "hh:mm:ss, or null",
        "c.yaml: others.j: found true (a boolean), expected text, a whole number or null; "
        "write it in quotes",
        "c.yaml: others.k: found a list, expected text, a whole number or null",
    ]


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("nclasses", 0, "0 (a number), expected a whole number >= 1"),
        ("epoch", 1.5, "1.5 (a number), expected a whole number from 1 to 1000000"),
        ("seed", 2**63, f"{2**63} (a number), expected a whole number from 0 to 2^63 - 1"),
        ("momentum", 1, "1 (a number), expected a number >= 0 and < 1"),
        ("lr", 0, "0 (a number), expected a number > 0"),
        ("walltime", "00:00:00", "'00:00:00' (text), expected hours, minutes and seconds as "
         "hh:mm:ss, or null"),
        ("walltime", 36000, "36000 (a number), expected hours, minutes and seconds as hh:mm:ss, "
         "or null; write it in quotes"),
        ("others", ["a"], "a list, expected a mapping of directive to value"),
        ("modules", 3, "3 (a number), expected the path of a file, or a mapping of name to module"),
        ("stdout", "a\nb", "'a\\nb' (text), expected a file name without a folder "
         "(it lies in the run's logs/), or null"),
        ("out", " runs", "' runs' (text), expected the path of a folder"),
        ("iterator", "processes", "'processes' (text), expected one of serial, thread, process; "
         "did you mean process?"),
    ],
)  # fmt: skip
def test_wrong_value(key: str, value: Any, found: str) -> None:
    assert problems_of({**SMALL, key: value}) == [f"c.yaml: {key}: found {found}"]


def test_newline_in_a_directive() -> None:
    assert problems_of({**SMALL, "others": {"j": "y\n#$ -l x"}}) == [
        "c.yaml: others.j: found 'y\\n#$ -l x' (text), expected text, a whole number or null"
    ]
    assert problems_of({**SMALL, "others": {"j\n": "y"}}) == [
        "c.yaml: others.j\n: found 'j\\n' (text), expected a name without control characters"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty, expected a mapping of keys to values"),
        ("- a\n", "holds a list, expected a mapping of keys to values"),
        ("nin", "holds 'nin' (text), expected a mapping of keys to values"),
    ],
)
def test_file_without_a_mapping(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(Trouble) as caught:
        read_config(path, home=None)
    assert str(caught.value) == f"{path}: {problem}\n-> {NEXT_STEP}"


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as caught:
        read_config(tmp_path / "c.yaml", home=None)
    assert str(caught.value) == (
        f"{tmp_path}/c.yaml: cannot be read: No such file or directory\n-> check the path"
    )


def test_documentation_names_every_key_and_default() -> None:
    page = Path(config_module.__file__).parents[2] / "docs" / "configuration.md"
    rows = re.findall(r"^\| `([^`]+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(known_keys())


def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    Path(os.fsdecode(folder)).mkdir()
    path = Path(os.fsdecode(folder)) / "config.yaml"
    path.write_text("arch: nin\n")
    with pytest.raises(Trouble) as caught:
        read_config(path, home=None)
    assert str(caught.value) == (
        f"{tmp_path}/caf\\xe9/config.yaml: the path is not UTF-8 text, "
        "and the records of a run are\n"
        "-> rename the file or folder whose name has the bytes written with a backslash"
    )


@pytest.mark.parametrize("key", ["stdout", "stderr"])
@pytest.mark.parametrize("name", ["/tmp/o.log", "../o.log", "..", ".", "logs/o.log", "o/"])
def test_output_lies_in_the_logs_of_the_run(key: str, name: str) -> None:
    with pytest.raises(Trouble) as caught:
        parse_config({**SMALL, key: name}, "c.yaml")
    assert str(caught.value) == (
        f"c.yaml: {key}: found {name!r} (text), expected a file name without a folder "
        f"(it lies in the run's logs/), or null\n-> {NEXT_STEP}"
    )
    assert (
        getattr(parse_config({**SMALL, key: "o..$JOB_ID.log"}, "c.yaml"), key) == "o..$JOB_ID.log"
    )


def test_more_epochs_than_anybody_wants() -> None:
    assert parse_config({**SMALL, "epoch": 10**6}, "c.yaml").epoch == 10**6
    for epoch in (10**6 + 1, 10**30):
        with pytest.raises(Trouble) as caught:
            parse_config({**SMALL, "epoch": epoch}, "c.yaml")
        assert str(caught.value) == (
            f"c.yaml: epoch: found {epoch} (a number), expected a whole number from 1 to 1000000"
            f"\n-> {NEXT_STEP}"
        )


def test_authors() -> None:
    listed = ["Ada Lovelace", {"name": "Bob", "orcid": "0000-0002-1825-0097", "affiliation": None}]
    config = parse_config({**SMALL, "authors": listed, "license": "MIT"}, "c")
    assert config.authors == [
        Author(name="Ada Lovelace"),
        Author(name="Bob", orcid=listed[1]["orcid"]),
    ]
    assert problems_of({**SMALL, "authors": "Ada"}) == [
        "c.yaml: authors: expected a list of names, or of mappings with name, orcid and affiliation"
    ]
    wrong = [7, "", {"orcid": "0000-0002-1825-0098"}, {"name": "B", "mail": "b@x"}]
    assert problems_of({**SMALL, "authors": wrong, "license": "my own"}) == [
        "c.yaml: authors.0: expected a name, or a mapping with name, orcid and affiliation",
        "c.yaml: authors.1.name: found '', expected up to 200 letters",
        "c.yaml: authors.2.name: found None, expected up to 200 letters",
        "c.yaml: authors.2.orcid: found '0000-0002-1825-0098', expected an ORCID iD such as "
        "0000-0002-1825-0097 (the last digit is a checksum)",
        "c.yaml: authors.3.mail: is not a known key, expected name, orcid or affiliation",
        "c.yaml: license: found 'my own' (text), expected an SPDX identifier, such as CC-BY-4.0, "
        "or a URL, or null",
    ]
