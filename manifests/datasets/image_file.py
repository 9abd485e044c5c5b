"""One stored image: is it there, is it what the trainer expects, and what is its digest."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Tuple, Union

from PIL import Image

from manifests.datasets.digest_cache import Stamp, stamp_of
from manifests.schema import IMAGE_SIDE

#: Kinds of image file that both the host and the trainer can read.
FORMATS = ("JPEG", "PNG")

#: A sentence without its subject: what is wrong with a file.
Problem = str


@dataclass
class ImageFolder:
    """The root folder of a sample set, as the container will see it: links may not lead out."""

    root: str
    real_root: str
    inside: Dict[str, bool]

    @classmethod
    def of(cls, root: Path) -> ImageFolder:
        return cls(os.path.normpath(root), os.path.realpath(root), {})

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _within(self, folder: str) -> bool:
        known = self.inside.get(folder)
        if known is None:
            real = os.path.realpath(folder)
            known = real == self.real_root or real.startswith(f"{self.real_root}/")
            self.inside[folder] = known
        return known

    def stamp(self, name: str) -> Union[Stamp, Problem]:
        """The stamp of a regular file, or why it is none."""
        path = self.path(name)
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                target = os.path.realpath(path)
                status = Path(path).stat()
                if not self._within(target.rpartition("/")[0]):
                    return f"is a link to {target}, which the container cannot see"
            elif not self._within(path.rpartition("/")[0]):
                return "is reached through a link that leads out of the root folder"
        except FileNotFoundError:
            return "does not exist"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return stamp_of(status) if stat.S_ISREG(status.st_mode) else "is no regular file"


def decode_problem(data: bytes) -> Problem:
    """Why these bytes are no usable image; empty when they are one.

    The whole file is decoded (JPEG at an eighth of its size, which reads all of it), because
    only that finds a truncated one.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:
        return f"is not an image ({' or '.join(FORMATS)})"
    try:
        if image.size != (IMAGE_SIDE, IMAGE_SIDE):
            width, height = image.size
            return f"has {width}x{height} pixels, expected {IMAGE_SIDE}x{IMAGE_SIDE}"
        image.draft("L", (IMAGE_SIDE // 8, IMAGE_SIDE // 8))
        image.load()
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        return f"is truncated or damaged: {error}"
    finally:
        image.close()
    return ""


def read_digest(path: str, *, decode: bool) -> Tuple[str, Problem]:
    """Return (sha256, "") of a file, or ("", what is wrong); ``decode`` checks the image too."""
    try:
        with open(path, "rb") as stream:
            before = stamp_of(os.fstat(stream.fileno()))
            data = stream.read()
            after = stamp_of(os.fstat(stream.fileno()))
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    if before != after or len(data) != before[0]:
        return "", "changed while it was being read"
    problem = decode_problem(data) if decode else ""
    return ("", problem) if problem else (hashlib.sha256(data).hexdigest(), "")
