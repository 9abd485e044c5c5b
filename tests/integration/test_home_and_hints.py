"""`~/` means the home folder, and hints name the program as it was called: from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from container.cache import cache_root
from tests.integration.conftest import PROJECT, Bench


def test_home_in_a_config_is_the_callers(bench: Bench, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    home.mkdir()
    (home / "data").symlink_to(bench.data)
    (home / "mods").write_text("module load a/1\n")
    changes = {
        "train": "~/data/train.txt",
        "train_root": "~/data/train",
        "val": "~/data/val.txt",
        "val_root": "~/data/val",
        "mean.npy": "~/data/mean.npy",
        "out": "~/runs",
        "modules": "~/mods",
    }
    cache = str(cache_root(os.environ))
    bench.environment = {**bench.environment, "HOME": str(home), "BUNDLE_CACHE": cache}
    script = bench.bundle("submit", "--dry-run", bench.config(**changes)).stdout
    assert f"run='{home}/runs/config-" in script
    assert f"{home}/data/train" in script
    assert "load a/1 " in script
    assert not (home / "runs").exists()
    bench.environment["HOME"] = ""
    done = bench.bundle("submit", "--dry-run", bench.config(out="~/runs"), code=2)
    assert done.stderr == (
        f"bundle: {bench.root}/config.json: out: found '~/runs' (text), expected the path of a "
        "folder; write the whole path: HOME is not set, so ~/ means nothing here\n"
        "-> correct the file; docs/configuration.md lists every key\n"
    )


def test_home_after_an_equals_sign_that_shells_leave(bench: Bench, tmp_path: Path) -> None:
    bench.environment = {**bench.environment, "HOME": str(tmp_path)}
    bench.bundle("data", "list", "--tree=~/data/train", "--output=~/lists/l.txt", code=2)
    (tmp_path / "tree").symlink_to(bench.data / "train")
    bench.bundle("data", "list", "--tree=~/tree", "--output=~/lists/l.txt")
    assert (tmp_path / "lists" / "l.txt").exists()
    assert not (bench.root / "~").exists()


def test_hints_name_the_program_as_it_was_called(tmp_path: Path) -> None:
    folder = tmp_path / "the project"
    folder.symlink_to(PROJECT)
    env = {name: value for name, value in os.environ.items() if name != "BUNDLE_CALLED"}
    arguments = ["data", "list", "-o", "x.txt"]
    for words, python in (
        (["a python/python3"], "'a python/python3'"),
        (["a python/python3"], "python3"),
    ):
        link = tmp_path / words[0]
        link.parent.mkdir(exist_ok=True)
        if not link.exists():
            link.symlink_to(sys.executable)
        path = "" if python != "python3" else str(link.parent)
        done = subprocess.run(
            [words[0], "the project/bundle.py", *arguments],
            cwd=tmp_path,
            env={**env, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == (
            "bundle: give either --tree, or --ground-truth, --synsets and --folder\n"
            f"-> {python} 'the project/bundle.py' data list --help\n"
        )


def test_a_set_of_digits_that_is_there_is_said_to_be(bench: Bench) -> None:
    told = {"folder": "d", "made": True, "nclasses": 8, "train": 1150, "val": 293}
    assert json.loads(bench.bundle("data", "digits", "d", "--json").stdout) == told
    again = {**told, "made": False}
    assert json.loads(bench.bundle("data", "digits", "d", "--json").stdout) == again
    done = bench.bundle("data", "digits", "d")
    assert done.stdout == "up to date: d: train.txt, val.txt, mean.npy\n"
