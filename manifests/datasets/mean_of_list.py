"""The mean image of a list: sums of whole numbers, so that nobody's share of the work shows."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from container.atomic import prepared, write_bytes
from container.progress import Progress
from container.trouble import Trouble
from manifests.datasets.advice import image_advice
from manifests.datasets.image_file import decode_pixels, read_file
from manifests.datasets.image_folder import ImageFolder
from manifests.datasets.list_file import SampleList, read_list
from manifests.datasets.mean import mean_bytes
from manifests.datasets.pillow import decoding
from manifests.datasets.shown import capped
from manifests.datasets.workers import spread
from manifests.record.keys import IMAGE_SIDE

#: Images that a worker sums at a time. 256 values of at most 255 stay below 2**16.
_CHUNK = 256
_SHAPE = (IMAGE_SIDE, IMAGE_SIDE, 3)

_Chunk = Tuple[int, List[str]]  # place of the first one in the list, names
_Sums = Tuple[np.ndarray, int, List[Tuple[int, str]]]  # uint16, images, (place, problem)


@dataclass(frozen=True)
class ListMean:
    """``channels`` are the means of red, green and blue, 0 to 255; for people, not for training."""

    mean: str
    sha256: str
    samples: int
    channels: List[float]

    def values(self) -> Dict[str, Any]:
        return asdict(self)

    def lines(self) -> List[str]:
        red, green, blue = self.channels
        return [
            f"{self.mean}: mean of {self.samples} images, "
            f"red {red:.3f}, green {green:.3f}, blue {blue:.3f}",
            f"sha256 {self.sha256}",
        ]


def _chunks(samples: SampleList) -> Iterator[_Chunk]:
    for start in range(0, len(samples.paths), _CHUNK):
        yield start, samples.paths[start : start + _CHUNK]


def _sum(folder: ImageFolder, chunk: _Chunk) -> _Sums:
    start, names = chunk
    sums = np.zeros(_SHAPE, np.uint16)
    problems: List[Tuple[int, str]] = []
    for place, name in enumerate(names, start):
        stamp = folder.stamp(name)
        data, problem = b"", stamp if isinstance(stamp, str) else ""
        if not problem:
            data, _, problem = read_file(folder.path(name))
        if not problem:
            with decoding(folder.path(name)):
                pixels, problem = decode_pixels(data)
            if pixels is not None:
                sums += pixels
        if problem:
            problems.append((place, f"{folder.show(name)} {problem}"))
    return sums, len(names), problems


def write_mean(
    list_file: Path,
    root: Path,
    output: Path,
    *,
    progress: Progress,
    workers: Optional[int] = None,
) -> ListMean:
    """Write the mean image of a list's samples: float32 (3, 256, 256), RGB, see `mean_bytes`.

    A sample that is listed twice counts twice. Raises Trouble, and writes nothing, with all
    samples that are no usable images (20 are shown).
    """
    if output.resolve() == list_file.resolve():
        raise Trouble(f"{output}: is the list itself", "name another output")
    samples = read_list(list_file, root=root)
    with prepared(output):
        total = _total(samples, root, progress, workers)
        data = mean_bytes(total, len(samples.paths))
        write_bytes(output, data)
    return ListMean(
        mean=str(output),
        sha256=hashlib.sha256(data).hexdigest(),
        samples=len(samples.paths),
        channels=[float(value) for value in total.mean(axis=(0, 1)) / len(samples.paths)],
    )


def _total(
    samples: SampleList, root: Path, progress: Progress, workers: Optional[int]
) -> np.ndarray:
    """The sum of all images, int64, (row, column, channel). Raises Trouble with all bad ones."""
    total = np.zeros(_SHAPE, np.int64)
    problems: List[str] = []
    sums = spread(partial(_sum, ImageFolder.of(root)), _chunks(samples), workers=workers)
    title = f"mean of {Path(samples.where).name}"
    with progress.track(title, len(samples.paths), "images") as advance, closing(sums):
        for part, count, bad in sums:
            total += part
            problems += [
                f"{samples.where}, line {samples.lines[place]}: {text}" for place, text in bad
            ]
            advance(count)
    if problems:
        raise Trouble(
            capped(problems, samples.where),
            image_advice(problems, samples, root, "--root"),
        )
    return total
