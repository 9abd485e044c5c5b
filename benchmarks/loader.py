"""Images per second from files to float32 batches: both loadtypes and all iterators, beside
Chainer's dataset and iterator classes and PyTorch's DataLoader with Pillow, on the same files.

Everybody takes a random crop of 224 pixels, mirrors half of them, subtracts the mean image, scales
by 1/255 and puts 32 of them into one batch. Batches of bytes, as for GPUs, are cropped and mirrored
only. Beside them stand the limits: what decoding alone takes, by Pillow and by simplejpeg where it
is installed, and what NumPy takes for pixels that are in memory: to copy a crop, and to make the
numbers of it in the three calls that this needs at least. Nothing is mirrored there.

python -m benchmarks.loader
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import chainer
import numpy as np
import torch
from PIL import Image

from benchmarks.images import make_images
from benchmarks.rounds import machine, table, take_turns
from manifests.record.keys import IMAGE_SIDE
from manifests.record.packed_file import SHAPE, PackedFile
from trainer.iterators import ITERATORS
from trainer.iterators.pool import Pool
from trainer.sampleset import Part, SampleSet

IMAGES = 1024
BATCH = 32
INSIZE = 224
WORKERS = 2
ROUNDS = 5
PROJECT = Path(__file__).resolve().parents[1]

Contestants = Dict[str, Callable[[], object]]


def make_files(folder: Path) -> None:
    make_images(folder, IMAGES)
    subprocess.run(
        [PROJECT / ".venv/bin/python", PROJECT / "bundle.py", "data", "pack", "list.txt"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def ours(
    folder: Path, loadtype: str, iterator: str, *, raw: bool = False
) -> Tuple[Pool, Callable[[], object]]:
    samples = SampleSet(
        table=folder / "table.tsv",
        root=folder,
        mean=folder / "mean.npy",
        seed=0,
        insize=INSIZE,
        paper_side=INSIZE,
        pack=folder / "list.pack",
        pack_name="list.pack",
        raw=raw,
    )
    pool = ITERATORS[iterator](loadtype, {"train": samples}, WORKERS)

    def load() -> None:
        parts = (
            Part("train", tuple(range(first, first + BATCH)), (0,) * BATCH)
            for first in range(0, IMAGES, BATCH)
        )
        assert sum(len(batch) for batch in pool.batches(parts)) == IMAGES

    return pool, load


def transformed(pixels: Any, mean: Any, dice: random.Random) -> Any:
    """(3, 256, 256) -> float32 (3, 224, 224), in the way of Chainer's ImageNet example."""
    top, left = (dice.randint(0, IMAGE_SIDE - INSIZE) for _ in range(2))
    window = (slice(None), slice(top, top + INSIZE), slice(left, left + INSIZE))
    image = pixels[window].astype(np.float32)
    image -= mean[window]
    if dice.randint(0, 1):
        image = image[:, :, ::-1]
    return image * np.float32(1 / 255)


class ForChainer(chainer.dataset.DatasetMixin):
    def __init__(self, folder: Path) -> None:
        self._base = chainer.datasets.LabeledImageDataset(str(folder / "list.txt"), str(folder))
        self._mean = np.load(folder / "mean.npy")

    def __len__(self) -> int:
        return len(self._base)

    def get_example(self, index: int) -> Tuple[Any, Any]:
        image, label = self._base[index]
        return transformed(image, self._mean, random.Random(int(index))), label


class ForTorch(torch.utils.data.Dataset):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mean = np.load(folder / "mean.npy")

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> Tuple[Any, int]:
        with Image.open(self._folder / f"{index:04d}.jpg") as image:
            pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        image = transformed(pixels, self._mean, random.Random(int(index)))
        return torch.from_numpy(np.ascontiguousarray(image)), index % 1000


def chainers(folder: Path) -> Tuple[List[Any], Contestants]:
    dataset = ForChainer(folder)
    made = {
        "Chainer SerialIterator": chainer.iterators.SerialIterator(dataset, BATCH, shuffle=False),
        f"Chainer MultithreadIterator, {WORKERS}": chainer.iterators.MultithreadIterator(
            dataset, BATCH, shuffle=False, n_threads=WORKERS
        ),
        f"Chainer MultiprocessIterator, {WORKERS}": chainer.iterators.MultiprocessIterator(
            dataset, BATCH, shuffle=False, n_processes=WORKERS
        ),
    }

    def load(iterator: Any) -> Callable[[], object]:
        def one_epoch() -> None:
            for _ in range(0, IMAGES, BATCH):
                chainer.dataset.concat_examples(next(iterator))

        return one_epoch

    return list(made.values()), {name: load(iterator) for name, iterator in made.items()}


def torches(folder: Path) -> Contestants:
    def load(workers: int) -> Callable[[], object]:
        loader = torch.utils.data.DataLoader(
            ForTorch(folder), BATCH, num_workers=workers, persistent_workers=workers > 0
        )
        return lambda: sum(len(images) for images, _ in loader)

    return {f"torch DataLoader, {workers} workers": load(workers) for workers in (0, WORKERS)}


def limits(folder: Path) -> Contestants:
    """What one process cannot beat without another decoder, or without a copy less."""
    files = [(folder / f"{number:04d}.jpg").read_bytes() for number in range(IMAGES)]
    with PackedFile(folder / "list.pack") as pack:
        records = [np.frombuffer(pack.record(k), np.uint8).reshape(SHAPE) for k in range(IMAGES)]
    dice = random.Random(0)
    corners = [(dice.randint(0, 32), dice.randint(0, 32)) for _ in records]

    def pillow() -> None:
        for data in files:
            np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def crop(batch: Any) -> Callable[[], None]:
        def all_of_them() -> None:
            for number, (record, (top, left)) in enumerate(zip(records, corners)):
                batch[number % BATCH] = record[:, top : top + INSIZE, left : left + INSIZE]

        return all_of_them

    mean = np.load(folder / "mean.npy")

    def numbers(batch: Any) -> Callable[[], None]:
        def all_of_them() -> None:
            for number, (record, (top, left)) in enumerate(zip(records, corners)):
                place = batch[number % BATCH]
                window = np.s_[:, top : top + INSIZE, left : left + INSIZE]
                np.copyto(place, record[window])
                np.subtract(place, mean[window], out=place)
                np.multiply(place, np.float32(1 / 255), out=place)

        return all_of_them

    shape = (BATCH, 3, INSIZE, INSIZE)
    found: Contestants = {
        "limit: Pillow decodes": pillow,
        "limit: NumPy crops to float32": crop(np.empty(shape, np.float32)),
        "limit: NumPy crops, subtracts, multiplies": numbers(np.empty(shape, np.float32)),
        "limit: NumPy crops bytes": crop(np.empty(shape, np.uint8)),
    }
    with suppress(ImportError):
        import simplejpeg

        found["limit: simplejpeg decodes"] = lambda: [simplejpeg.decode_jpeg(x) for x in files]
    return found


def main() -> None:
    torch.set_num_threads(1)
    where = machine()
    with tempfile.TemporaryDirectory(dir=".bench") as name:
        folder = Path(name).resolve()
        make_files(folder)
        contestants: Contestants = {}
        to_close: List[Any] = []
        # Our processes first: forked later they would hold what the others have opened.
        for loadtype in ("original", "custom"):
            for iterator in ("process", "thread", "serial"):
                workers = "" if iterator == "serial" else f", {WORKERS}"
                pool, load = ours(folder, loadtype, iterator)
                contestants[f"{loadtype}, {iterator}{workers}"] = load
                to_close.append(pool)
        for loadtype in ("original", "custom"):
            pool, load = ours(folder, loadtype, "serial", raw=True)
            contestants[f"{loadtype}, serial, bytes"] = load
            to_close.append(pool)
        contestants.update(limits(folder))
        contestants.update(torches(folder))
        iterators, theirs = chainers(folder)
        contestants.update(theirs)
        times = take_turns(contestants, ROUNDS, "loading")
        for pool in to_close:
            pool.close()
        for iterator in iterators:
            iterator.finalize()
    peers = {True: "torch DataLoader, 0 workers", False: f"torch DataLoader, {WORKERS} workers"}
    rows = []
    for name, found in times.items():
        alone = "serial" in name.lower() or "0 workers" in name or name.startswith("limit")
        peer = times[peers[alone]]
        rows.append(
            [
                name,
                f"{IMAGES / found.middle_wall:.0f}",
                f"{IMAGES / found.middle_cpu:.0f}",
                f"{peer.middle_wall / found.middle_wall:.2f}",
                f"{peer.middle_cpu / found.middle_cpu:.2f}",
            ]
        )
    print(f"Loading {IMAGES} JPEG files of 256x256 ({where}; medians of {ROUNDS} turns)\n")
    heads = ["who", "images/s", "images per CPU second", "of torch's images/s"]
    print(table([*heads, "of torch's per CPU second"], rows))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
