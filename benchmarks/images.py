"""Image files like photographs, as many as a benchmark of loaders wants."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from manifests.record.keys import IMAGE_SIDE


def make_images(folder: Path, count: int) -> None:
    """JPEG files of 256x256 whose spectrum falls as 1/f, as that of photographs does (Field 1987,
    J. Opt. Soc. Am. A 4, 2379), some 25 kB each; ``list.txt``, ``table.tsv`` and ``mean.npy``."""
    generator = np.random.Generator(np.random.Philox(3))
    frequency = np.hypot(np.fft.fftfreq(IMAGE_SIDE)[:, None], np.fft.rfftfreq(IMAGE_SIDE)[None])
    frequency[0, 0] = 1.0
    lines, table_lines = [], []
    for number in range(count):
        grey = generator.standard_normal((1, IMAGE_SIDE, IMAGE_SIDE))
        noise = grey + 0.3 * generator.standard_normal((3, IMAGE_SIDE, IMAGE_SIDE))
        smooth = np.fft.irfft2(np.fft.rfft2(noise) / frequency)
        scaled = 128 + 50 * smooth / smooth.std()
        pixels = np.clip(scaled, 0, 255).astype(np.uint8).transpose(1, 2, 0)
        path = folder / f"{number:04d}.jpg"
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, quality=90)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{path.name} {number % 1000}\n")
        table_lines.append(f"{digest}\t{number % 1000}\t{path.name}\n")
    (folder / "list.txt").write_text("".join(lines))
    (folder / "table.tsv").write_text("".join(table_lines))
    np.save(folder / "mean.npy", np.full((3, IMAGE_SIDE, IMAGE_SIDE), 120, np.float32))
