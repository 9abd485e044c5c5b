"""`bundle.py data …` from outside, in the order in which a user goes from originals to a config."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Tuple

import numpy as np
import pytest
from PIL import Image

from tests.manifests.datasets.originals import encoded

PROJECT = Path(__file__).resolve().parents[4]


def data(folder: Path, *arguments: Any, code: int = 0) -> Tuple[str, str]:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "bundle.py"), "data", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "BUNDLE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ILSVRC: three classes, six training and three validation images."""
    folder = tmp_path_factory.mktemp("ilsvrc")
    noise = np.random.Generator(np.random.Philox(3)).integers(0, 256, (9, 6, 8, 3), np.uint8)
    ids = ["n02119789", "n02100735", "n01440764"]
    names = [f"train/{name}/{name}_{number}.JPEG" for name in ids for number in (7, 12)]
    names += [f"val/ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2, 3)]
    for name, pixels in zip(names, noise):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(Image.fromarray(pixels).resize((500, 375)), "JPEG"))
    (folder / "ids.txt").write_text("".join(f"{name}\n" for name in ids))
    (folder / "truth.txt").write_text("2\n3\n1\n")
    return folder


def test_from_originals_to_what_a_config_names(place: Path) -> None:
    for part, count in (("train", 6), ("val", 3)):
        out, err = data(place, "crop", part, f"256/{part}", "--workers", "1")
        assert out == f"256/{part}: made {count}, up to date 0\n"
        assert err.endswith(" images/s\n")
    out, _ = data(place, "list", "--tree", "256/train", "-o", "train.txt")
    assert out == (
        "train.txt: 6 samples of 3 classes, 2 to 2 each\n"
        "its paths start from 256/train; its labels are the lines of classes.txt\n"
    )
    truth = ["--ground-truth", "truth.txt", "--synsets", "ids.txt", "--folder", "256/val"]
    told = json.loads(data(place, "list", *truth, "-o", "val.txt", "--json")[0])
    assert (told["samples"], told["classes"]) == (3, 3)
    assert (place / "val.txt").read_text().splitlines()[0] == "ILSVRC2012_val_00000001.JPEG 1"
    told = json.loads(
        data(place, "mean", "train.txt", "--root", "256/train", "-o", "mean.npy", "--json")[0]
    )
    assert told["samples"] == 6
    checking = ["check", "train.txt", "--root", "256/train", "--mean", "mean.npy"]
    out, err = data(place, *checking, "--nclasses", "3")
    assert out.splitlines()[-1].startswith("good: nothing that submit would refuse; sha256 ")
    assert "warning" not in err
    told = json.loads(data(place, *checking, "--json")[0])
    assert told["good"] is True
    out, _ = data(place, *checking, "--nclasses", "4", code=1)
    assert out.splitlines()[1:] == ["train.txt: 1 of 4 classes has no sample: 3", "problems: 1"]
    val = ["check", "val.txt", "--root", "256/val", "--nclasses", "4", "--validation"]
    assert "bundle: warning: val.txt: 1 of 4 classes has no sample: 3\n" in data(place, *val)[1]
    out, _ = data(place, *checking, "--nclasses", "2", code=1)
    assert out.splitlines()[-1] == "problems: 2"
    data(place, "mini", "train.txt", "--root", "256/train", "--classes", "2", "-o", "mini.txt")
    out, _ = data(place, "mini", "val.txt", "--choice", "mini.txt.json", "-o", "mini-val.txt")
    assert out.splitlines()[0] == "mini-val.txt: 2 samples of 2 classes of val.txt"
    told = json.loads(
        data(place, "mini", "val.txt", "--choice", "mini.txt.json", "-o", "m.txt", "--json")[0]
    )
    assert told["choice"]["seed"] == 0


def test_a_list_that_is_not_there_is_trouble(place: Path) -> None:
    _, err = data(place, "check", "no.txt", code=2)
    assert err == "bundle: no.txt: is not a file\n-> name a list file of `<path> <label>` lines\n"


def test_options_that_do_not_go_together(place: Path) -> None:
    either = (
        "bundle: give either --tree, or --ground-truth, --synsets and --folder\n"
        "-> python bundle.py data list --help\n"
    )
    for options in ([], ["--tree", "train", "--synsets", "ids.txt"], ["--ground-truth", "t"]):
        assert data(place, "list", *options, "-o", "x.txt", code=2) == ("", either)
    either = (
        "bundle: give either --classes with --seed, or --choice\n"
        "-> python bundle.py data mini --help\n"
    )
    for options in ([], ["--classes", "2", "--choice", "c"], ["--choice", "c", "--seed", "0"]):
        assert data(place, "mini", "val.txt", *options, "-o", "x.txt", code=2) == ("", either)
    assert not (place / "x.txt").exists()
