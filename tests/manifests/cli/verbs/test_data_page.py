"""The commands of docs/data.md, run as they stand, on a small ILSVRC of a thousand classes."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Dict, List

import numpy as np
import yaml
from PIL import Image
from scipy.io import savemat

from tests.manifests.datasets.originals import encoded

PROJECT = Path(__file__).resolve().parents[4]
CLASSES = 1000
VALIDATION = 1000  # `data mini` wants one of each class that it chooses


def code_blocks(page: str) -> List[str]:
    """The indented blocks of a page, without their indentation."""
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.MULTILINE)
    blocks = ["".join(line[4:] or "\n" for line in block.splitlines(True)) for block in found]
    return [block.strip() + "\n" for block in blocks if block.strip()]


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def image(number: int) -> bytes:
    noise = np.random.Generator(np.random.Philox(number)).integers(0, 256, (3, 4, 3), np.uint8)
    return encoded(Image.fromarray(noise).resize((32, 24)), "JPEG")


def ilsvrc(folder: Path) -> None:
    """The three archives, as they are published: names, folders, the archives of the classes."""
    ids = [f"n{number:08d}" for number in range(1440764, 1440764 + CLASSES)]
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as archive:
        for number, name in enumerate(ids):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as tar:
                add(tar, f"{name}_{number}.JPEG", image(number))
            add(archive, f"{name}.tar", inner.getvalue())
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(1, VALIDATION + 1):
            add(archive, f"ILSVRC2012_val_{number:08d}.JPEG", image(10000 + number))
    numbers = list(np.random.Generator(np.random.Philox(1)).permutation(CLASSES) + 1)
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    synsets = np.array([(number, name, 0) for number, name in zip(numbers, ids)], dtype=kind)
    mat = io.BytesIO()
    savemat(mat, {"synsets": synsets})
    truth = "".join(f"{number}\n" for number in numbers[:VALIDATION])
    with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        data = "ILSVRC2012_devkit_t12/data"
        add(archive, f"{data}/meta.mat", mat.getvalue())
        add(archive, f"{data}/ILSVRC2012_validation_ground_truth.txt", truth.encode())


def commands_of(page: str, bundle: Path) -> str:
    """All blocks of commands as they stand, in their order, with the place of this bundle.py."""
    begins = re.compile(r"^(\$bundle |bundle=|mkdir )", re.MULTILINE)
    text = "".join(block for block in code_blocks(page) if begins.match(block))
    assert text.count("/path/to/bundle.py") == 1
    return text.replace("/path/to/bundle.py", str(bundle))


def config_of(page: str) -> Dict[str, object]:
    (block,) = (block for block in code_blocks(page) if block.startswith("nclasses:"))
    return dict(yaml.safe_load(block))


def test_every_command_of_the_page(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "data.md").read_text(encoding="utf-8")
    ilsvrc(tmp_path)
    (tmp_path / "project").symlink_to(PROJECT)  # a path without spaces
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands_of(page, tmp_path / "project" / "bundle.py")],
        cwd=tmp_path,
        env={**os.environ, "BUNDLE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    good = [line for line in done.stdout.splitlines() if line.startswith("good: nothing that ")]
    assert len(good) == 2
    config = config_of(page)
    for name in ("train", "train_root", "val", "val_root", "mean.npy"):
        assert (tmp_path / str(config[name])).exists(), name
    listed = (tmp_path / "train.txt").read_text().splitlines()
    assert (len(listed), config["nclasses"]) == (CLASSES, 1000)
    assert len((tmp_path / "mini" / "train.txt").read_text().splitlines()) == 8


def test_every_verb_of_data_is_on_the_page() -> None:
    from manifests.cli.verbs.data import data

    page = (PROJECT / "docs" / "data.md").read_text(encoding="utf-8")
    missing = [name for name in data.commands if f"data {name}" not in page]
    assert missing == []
