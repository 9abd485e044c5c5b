"""A small real data set: the handwritten digits that scikit-learn ships, as image files.

8 classes (the digits 0 to 7) of the test set of UCI's "Optical Recognition of Handwritten
Digits", 8x8 pixels of 17 grey levels, enlarged to the size of stored ImageNet images. The
strokes stay inside the frame of every crop that a network takes of 256 pixels down to 227.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
from PIL import Image

from container.atomic import write_json
from container.progress import Progress
from container.trouble import Trouble, first_of
from manifests.datasets.list_file import render_list
from manifests.datasets.mean import mean_bytes
from manifests.record.keys import IMAGE_SIDE

NCLASSES = 8
#: One sample in five of each class is for validation.
_VALIDATION_EVERY = 5
_MARKER = ".digits.json"

LabelledPath = Tuple[str, int]  # path relative to the set's folder, label


@dataclass(frozen=True)
class DigitsSet:
    """``mean`` is float32 (3, 256, 256); ``made`` is False where the set was there already."""

    train: Path
    val: Path
    mean: Path
    nclasses: int
    train_samples: int
    val_samples: int
    made: bool


def _load_digits() -> Tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 8) of 0 to 16 and labels (n,) of the classes that are used."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise Trouble(
            f"the digits data set needs scikit-learn, which cannot be imported: {error}",
            "install it from requirements/dev.txt, or run `make dev`",
        ) from error
    digits = load_digits()
    kept = digits.target < NCLASSES
    return digits.images[kept], digits.target[kept]


def _enlarged(digit: np.ndarray) -> Image.Image:
    """An 8x8 array of 0 to 16 as an RGB image of the stored size, smooth between pixels."""
    levels = np.rint(digit * (255 / 16)).astype(np.uint8)
    image = Image.fromarray(levels).resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC)
    return image.convert("RGB")


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=90, subsampling=0)
    return stream.getvalue()


def _split(labels: np.ndarray) -> List[str]:
    """``train`` or ``val`` for each sample: the same share of every class, by position alone."""
    seen = [0] * NCLASSES
    parts = []
    for label in labels:
        parts.append("val" if seen[label] % _VALIDATION_EVERY == 0 else "train")
        seen[label] += 1
    return parts


def _fill(folder: Path, progress: Progress) -> None:
    """Write images, lists, mean image, and last the marker with every file's sha256."""
    images, labels = _load_digits()
    listed: Dict[str, List[LabelledPath]] = {"train": [], "val": []}
    digests: Dict[str, str] = {}
    total = np.zeros((IMAGE_SIDE, IMAGE_SIDE, 3), np.int64)

    def write(name: str, data: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()

    with progress.track("make the digits data set", len(images), "images") as advance:
        for number, (digit, label, part) in enumerate(zip(images, labels, _split(labels))):
            name = f"{part}/{label}/digit-{number:04d}.jpg"
            data = _jpeg(_enlarged(digit))
            write(name, data)
            listed[part].append((name, int(label)))
            if part == "train":
                total += np.asarray(Image.open(io.BytesIO(data)))
            advance(1)
    for part, samples in listed.items():
        write(f"{part}.txt", render_list(samples))
    write("mean.npy", mean_bytes(total, len(listed["train"])))
    counts = {part: len(samples) for part, samples in listed.items()}
    write_json(folder / _MARKER, {"counts": counts, "files": digests})


def _set_in(folder: Path, *, made: bool) -> DigitsSet:
    counts = json.loads((folder / _MARKER).read_text(encoding="utf-8"))["counts"]
    return DigitsSet(
        train=folder / "train.txt",
        val=folder / "val.txt",
        mean=folder / "mean.npy",
        nclasses=NCLASSES,
        train_samples=counts["train"],
        val_samples=counts["val"],
        made=made,
    )


def _differences(folder: Path) -> List[str]:
    """Files of an earlier set that are missing or altered."""
    found = []
    for name, sha256 in json.loads((folder / _MARKER).read_text(encoding="utf-8"))["files"].items():
        path = folder / name
        if not path.is_file():
            found.append(f"{path}: is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            found.append(f"{path}: was altered")
    return found


def _existing(target: Path) -> bool:
    """Whether an intact set is there. Raises Trouble when something else is."""
    if not target.exists():
        return False
    if not target.is_dir():
        raise Trouble(f"{target}: is not a folder", "choose another folder")
    if not any(target.iterdir()):
        return False
    if not (target / _MARKER).is_file():
        raise Trouble(
            f"{target}: is not empty and holds no digits data set", "choose a new or empty folder"
        )
    problems = _differences(target)
    if problems:
        raise Trouble(first_of(problems), f"remove {target} and make the data set again")
    return True


def make_digits(target: Path, *, progress: Progress) -> DigitsSet:
    """Make the digits data set in the new or empty folder ``target``, whole or not at all.

    An intact set that is there already is left as it is. The same bytes come out for the same
    Pillow and scikit-learn. Raises Trouble when the folder holds something else, a set that was
    altered, cannot be written, or scikit-learn is missing.
    """
    target = target.absolute()
    if _existing(target):
        return _set_in(target, made=False)
    try:
        with suppress(FileExistsError):  # a file: the next line says that it is not a folder
            target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise Trouble(
            f"{target}: cannot be made: {error.strerror}", "choose another folder"
        ) from error
    try:
        _fill(temporary, progress)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise Trouble(
            f"{target}: cannot be written: {error.strerror}",
            "free some space or choose another folder",
        ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return _set_in(target, made=True)
