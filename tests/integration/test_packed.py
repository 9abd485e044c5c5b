"""`data pack` and `loadtype: custom` from outside: the same bits, with the images gone or back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.integration.conftest import Bench

pytestmark = pytest.mark.image


def pack(bench: Bench, *more: str | Path) -> None:
    for name in ("train", "val"):
        bench.bundle("data", "pack", bench.data / f"{name}.txt", "--root", bench.data / name, *more)


@pytest.mark.long
def test_packed_runs_are_the_runs_on_images(
    bench: Bench, finished: tuple[Bench, Path], tmp_path: Path
) -> None:
    """The images of `finished` are the same files in another folder."""
    pack(bench)
    run = bench.submit(bench.config(loadtype="custom", iterator="process"))
    done = bench.bundle("compare", finished[1], run)
    assert done.stdout.startswith("verdict: identical\n")
    assert "suspects" not in done.stdout
    identities = [
        json.loads((path / "manifest.json").read_text())["identity_digest"]
        for path in (finished[1], run)
    ]
    assert identities[0] == identities[1]

    # Without the images, with packed files that moved.
    for name in ("train", "val"):
        (bench.data / name).rename(tmp_path / name)
        (bench.data / f"{name}.pack").rename(tmp_path / f"{name}.pack")
    old_data, out = bench.data, bench.out
    place = f"{old_data}={tmp_path}"
    assert bench.bundle("verify", run, "--data", place).stdout == "verified: nothing differs\n"
    done = bench.bundle("rerun", run, "--data", place)
    assert "verdict: identical" in done.stdout
    assert "loadtype original" not in done.stderr

    # With the images alone.
    for name in ("train", "val"):
        (tmp_path / f"{name}.pack").unlink()
        (tmp_path / name).rename(bench.data / name)
    done = bench.bundle("rerun", run)
    assert "verdict: identical" in done.stdout
    assert (
        f"bundle: warning: packed data is gone: {old_data}/train.pack, {old_data}/val.pack; "
        "loadtype original is used instead of custom, with the images in "
        f"{old_data}/train, {old_data}/val\n" in done.stderr
    )

    # With nothing.
    shutil.rmtree(bench.data)
    before = sorted(out.iterdir())
    done = bench.bundle("rerun", run, code=2)
    assert done.stdout.startswith("verdict: cannot-run\n")
    assert f"its packed file {old_data}/train.pack does not exist" in done.stdout
    assert sorted(out.iterdir()) == before


def test_other_images_than_the_list_says(bench: Bench) -> None:
    pack(bench)
    listing = bench.data / "train.txt"
    lines = listing.read_text().splitlines()
    listing.write_text("\n".join(lines[1:]) + "\n")
    gone = lines[0].rsplit(None, 1)[0]
    before = sorted(bench.root.rglob("*"))
    config = bench.config(loadtype="custom")
    done = bench.bundle("submit", config, code=2)
    assert done.stderr == (
        f"bundle: {bench.data}/train.pack: image 1 is {gone}, which {listing} does not name\n"
        "-> pack the images of the list again: python bundle.py data pack LIST --root ROOT\n"
    )
    assert sorted(bench.root.rglob("*")) == sorted([*before, config])
