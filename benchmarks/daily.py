"""How long the verbs of every day take, and a second `submit` with a data set as large as ImageNet.

The peer of the lists is a script that reads the same small files as JSON and prints their names.
That of the data set is find(1), which asks every file for its stamp. python -m benchmarks.daily
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
from PIL import Image

from benchmarks.rounds import machine, say, table, take_turns
from benchmarks.submit import PROJECT, PYTHON, Desk
from manifests.datasets.digest_cache import DigestCache, stamp_of
from manifests.datasets.image_file import read_digest

ROUNDS = 9
LISTED = 10_000
WATCHED = 1000
#: The training set of ILSVRC 2012.
IMAGES = 1_281_167
CLASSES = 1000
#: So many links one file may have at least (ext4: 65000).
LINKS = 40_000

READ_AS_JSON = """\
import json, os, sys
for entry in sorted(os.scandir(sys.argv[1]), key=lambda entry: entry.name):
    files = (f"{entry.path}/{name}.json" for name in ("outline", "job"))
    found = [json.loads(open(file).read()) for file in files]
    print(entry.name, os.path.exists(f"{entry.path}/DONE"), found[0]["arch"])
"""


def copies(run: Path, out: Path, count: int) -> None:
    """Runs with the small files of one, as links."""
    names = [path.name for path in run.iterdir() if path.is_file()]
    for number in range(count):
        clock = f"{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}"
        folder = out / f"config-20260101T{clock}Z-{run.name[-8:]}"
        (folder / "results").mkdir(parents=True)
        for name in names:
            os.link(run / name, folder / name)


def verbs(desk: Desk) -> str:
    desk.bundle("submit", desk.config)
    (run,) = (desk.root / "runs").iterdir()
    watched, listed = desk.root / "watched", desk.root / "listed"
    say(f"{WATCHED} runs that wait, {LISTED} that are done")
    copies(run, watched, WATCHED)
    done = desk.root / "done" / run.name
    shutil.copytree(run, done, ignore=shutil.ignore_patterns("code", "inputs"))
    for name, text in (("result.json", "{}"), ("exit_code", "0"), ("DONE", "")):
        (done / name).write_text(text)
    copies(done, listed, LISTED)
    for note in (desk.root / "cache" / "outs").iterdir():
        note.write_text(f"{watched}\n")
    contestants: Dict[str, Callable[[], object]] = {
        "--help": lambda: desk.bundle("--help"),
        "show RUN": lambda: desk.bundle("show", run),
        "list, one run": lambda: desk.bundle("list", run.parent),
        "status, one run": lambda: desk.bundle("status", run),
        f"status, {WATCHED} runs under way": lambda: desk.bundle("status"),
        f"list, {LISTED} runs": lambda: desk.bundle("list", listed),
        f"script: JSON of {LISTED} runs": lambda: desk.call(PYTHON, "-c", READ_AS_JSON, listed),
        "python -c pass": lambda: desk.call(PYTHON, "-c", "pass"),
        "import of click": lambda: desk.call(PYTHON, "-c", "import click"),
    }
    return times_of(contestants, ROUNDS, "verbs")


def times_of(contestants: Dict[str, Callable[[], object]], rounds: int, what: str) -> str:
    return table(
        ["what", "median", "best", "CPU s"],
        [
            [name, f"{found.middle_wall:.3f} s", f"{found.best_wall:.3f} s",
             f"{found.middle_cpu:.2f}"]
            for name, found in take_turns(contestants, rounds, what).items()
        ],
    )  # fmt: skip


def large_set(desk: Desk) -> Tuple[Path, Path]:
    """(root, config) of a set of so many images, which are links of a few, all of them known."""
    root = desk.root / "large"
    samples: List[str] = []
    first = root / "0.jpg"
    for number in range(IMAGES):
        folder = root / f"n{number % CLASSES:08d}"
        if number < CLASSES:
            folder.mkdir(parents=True)
        if number % LINKS == 0:
            first = root / f"{number}.jpg"
            Image.fromarray(np.full((256, 256, 3), number // LINKS, np.uint8)).save(first)
        name = f"{folder.name}/ILSVRC2012_{number:08d}.JPEG"
        os.link(first, root / name)
        samples.append(name)
    for which, part in (("train", samples), ("val", samples[:CLASSES])):
        lines = (f"{name} {number % CLASSES}\n" for number, name in enumerate(part))
        (desk.root / f"large-{which}.txt").write_text("".join(lines))
    time.sleep(3)  # younger files are not remembered
    remember(desk, root, samples)
    values = json.loads(desk.config.read_text())
    for which in ("train", "val"):
        values[which] = str(desk.root / f"large-{which}.txt")
        values[f"{which}_root"] = str(root)
    config = desk.root / "large.json"
    config.write_text(json.dumps({**values, "nclasses": CLASSES}))
    return root, config


def remember(desk: Desk, root: Path, samples: List[str]) -> None:
    digests: Dict[int, str] = {}
    cache = DigestCache(desk.root / "cache" / "fingerprints")
    for start in range(0, len(samples), LINKS):
        rows = []
        for name in samples[start : start + LINKS]:
            status = os.lstat(f"{root}/{name}")
            if status.st_ino not in digests:
                digests[status.st_ino], _ = read_digest(f"{root}/{name}", decode=True)
            rows.append((f"{root}/{name}", stamp_of(status), digests[status.st_ino]))
        cache.remember(rows, now_ns=time.time_ns())
    cache.close()


def large(desk: Desk) -> str:
    say(f"{IMAGES} images")
    root, config = large_set(desk)
    say("submit: for the first time")
    desk.bundle("submit", config)
    contestants: Dict[str, Callable[[], object]] = {
        f"submit, {IMAGES} images known": lambda: desk.bundle("submit", config),
        "find -printf of size, times and inode": lambda: desk.call(
            "find", root, "-type", "f", "-fprintf", "/dev/null", "%s %T@ %C@ %i\\n"
        ),
    }
    found = times_of(contestants, 3, "large")
    inputs = next((desk.root / "runs").iterdir()) / "inputs" / "train.tsv"
    status = inputs.stat()
    return (
        f"{found}\n\nThe table of these images has {status.st_size / 1e6:.0f} MB; "
        f"{status.st_nlink} runs share one file."
    )


def main() -> None:
    where = machine()
    base = PROJECT / ".bench"
    with tempfile.TemporaryDirectory(dir=base if base.is_dir() else None) as name:
        desk = Desk(Path(name).resolve())
        print(f"Daily use ({where}; medians of {ROUNDS} turns, of the large set of 3)\n")
        print(f"{verbs(desk)}\n", flush=True)
        shutil.rmtree(desk.root / "runs")
        print(large(desk))


if __name__ == "__main__":
    main()
