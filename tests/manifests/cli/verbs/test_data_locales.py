"""The verbs of `data` in locales that are not UTF-8: the same bytes as in one that is."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
from PIL import Image

from tests.locales import OTHERS, make_locale
from tests.manifests.datasets.originals import encoded

PROJECT = Path(__file__).resolve().parents[4]
UTF8 = {"LC_ALL": "C.UTF-8"}
PLAIN = {"LC_ALL": "C", "LANG": "C"}


def originals(folder: Path) -> None:
    noise = np.random.Generator(np.random.Philox(4)).integers(0, 256, (6, 8, 8, 3), np.uint8)
    for number, pixels in enumerate(noise):
        path = folder / "orig" / ("café", "日本", "a\u2028b")[number % 3] / f"ö {number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(Image.fromarray(pixels).resize((300, 260)), "JPEG"))


def calls(folder: Path, environment: Dict[str, str]) -> List[Tuple[int, bytes, bytes]]:
    """Every verb once; what each printed."""
    cache = {"BUNDLE_CACHE": str(folder / "cache")}
    done = []
    for arguments in (
        "crop orig 256 --workers 1",
        "list --tree 256 -o train.txt",
        "check train.txt --root 256",
        "mean train.txt --root 256 -o mean.npy --workers 1",
        "mini train.txt --root 256 --classes 2 -o mini.txt",
        "pack mini.txt --root 256",
        "check mini.txt --root 256 --mean mean.npy --json",
        "check gone.txt --root 256",
    ):
        call = subprocess.run(
            [sys.executable, str(PROJECT / "bundle.py"), "data", *arguments.split(" ")],
            cwd=folder,
            env={**os.environ, **environment, **cache},
            capture_output=True,
            check=False,
        )
        done.append((call.returncode, call.stdout, call.stderr))
        if arguments.startswith("mini"):
            (folder / "gone.txt").write_text("café/fehlt.jpg 0\n日本/x 1\n", encoding="utf-8")
    return done


def files(folder: Path) -> Dict[bytes, str]:
    """Names as they lie on the disk, and what is in them; no locks, no cache."""
    return {
        os.fsencode(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "cache"
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Tuple[List[Any], Dict[bytes, str]]:
    folder = tmp_path_factory.mktemp("utf8")
    originals(folder)
    done = calls(folder, UTF8)
    assert [code for code, _, _ in done] == [0, 0, 0, 0, 0, 0, 0, 1]
    assert json.loads(done[6][1].decode("utf-8"))["good"] is True
    assert done[7][1].decode("utf-8").splitlines()[1:] == [
        "gone.txt, line 1: 256/café/fehlt.jpg does not exist",
        "gone.txt, line 2: 256/日本/x does not exist",
        "problems: 2",
    ]
    assert (folder / "train.txt").read_text("utf-8").split("\n")[0] == "a\u2028b/ö 2.jpg 0"
    return done, files(folder)


def without_times(done: List[Tuple[int, bytes, bytes]]) -> List[Tuple[int, bytes]]:
    return [(code, out) for code, out, _ in done]


@pytest.mark.parametrize("which", [*OTHERS, None], ids=lambda which: which and which[1])
def test_a_locale_changes_no_byte(
    tmp_path: Path, which: Any, expected: Tuple[List[Any], Dict[bytes, str]]
) -> None:
    environment = PLAIN
    if which is not None:
        (tmp_path / "locales").mkdir()
        environment = make_locale(tmp_path / "locales", *which)
    folder = tmp_path / "place"
    folder.mkdir()
    originals(folder)
    done = calls(folder, environment)
    assert without_times(done) == without_times(expected[0])
    assert files(folder) == expected[1]


def test_a_python_that_was_started_in_the_environment_itself(tmp_path: Path) -> None:
    """Without going through another Python first."""
    originals(tmp_path)
    environment = make_locale(tmp_path, *OTHERS[0])
    python = str(PROJECT / ".venv" / "bin" / "python")
    for name in ("a.txt", "b.txt"):
        subprocess.run(
            [python, str(PROJECT / "bundle.py"), "data", "list", "--tree", "orig", "-o", name],
            cwd=tmp_path,
            env={**os.environ, **(UTF8 if name == "a.txt" else environment)},
            check=True,
            capture_output=True,
        )
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()


@pytest.mark.parametrize("environment", [UTF8, PLAIN], ids=["UTF-8", "C"])
def test_names_that_are_not_utf8_are_named(tmp_path: Path, environment: Dict[str, str]) -> None:
    originals(tmp_path)
    (tmp_path / "orig" / "café").rename(tmp_path / "orig" / os.fsdecode(b"caf\xe9"))

    def call(*arguments: Any) -> Tuple[int, bytes, bytes]:
        done = subprocess.run(
            [sys.executable, str(PROJECT / "bundle.py"), "data", *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    before = sorted(tmp_path.rglob("*"))
    code, out, err = call("list", "--tree", "orig", "-o", "new/train.txt")
    assert (code, out) == (2, b"")
    assert err.decode().splitlines()[0] == r"bundle: orig/caf\xe9: its name is not UTF-8"
    assert call("list", "--tree", b"orig/caf\xe9", "-o", "new/train.txt") == (
        2,
        b"",
        f"bundle: {tmp_path}/orig/caf\\xe9: its name is not UTF-8\n"
        "-> rename the file or folder\n".encode(),
    )
    (tmp_path / "l.txt").write_bytes(b"x.jpg 0\ncaf\xe9/1.jpg 1\n")
    assert call("mean", "l.txt", "-o", "new/mean.npy") == (
        2,
        b"",
        b"bundle: l.txt, line 2: is not UTF-8 text: 'caf\\xe9/1.jpg 1'\n"
        b"-> correct the list file; its lines are `<path> <label>`, labels count from 0\n",
    )
    (tmp_path / "l.txt").unlink()
    assert sorted(tmp_path.rglob("*")) == before
