"""One stored image: is it there, is it what the trainer expects, and what is its digest."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple, Union

from manifests.datasets.digest_cache import Stamp, stamp_of
from manifests.record.schema import IMAGE_SIDE

if TYPE_CHECKING:  # images that are remembered need neither
    import numpy as np
    from PIL import Image

#: Kinds of image file that both the host and the trainer can read.
FORMATS = ("JPEG", "PNG")

#: A sentence without its subject: what is wrong with a file.
Problem = str


@dataclass
class ImageFolder:
    """The root folder of a sample set, as the container will see it.

    Only this folder is in the container, under another path: a link is followed there if it is
    relative and stays below the root all the way. ``known`` holds what is wrong with folders.
    """

    root: str
    known: Dict[str, Problem]

    @classmethod
    def of(cls, root: Path) -> ImageFolder:
        return cls(os.path.normpath(root), {})

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _folder_problem(self, folder: str) -> Problem:
        problem = self.known.get(folder)
        if problem is None:
            problem = _link_problem(self.root, folder)
            if problem:
                problem = f"is reached through a link that {problem}"
            self.known[folder] = problem
        return problem

    def stamp(self, name: str) -> Union[Stamp, Problem]:
        """The stamp of a regular file, or why it is none."""
        path = self.path(name)
        try:
            status = os.lstat(path)
            problem = self._folder_problem(name.rpartition("/")[0])
            if not problem and stat.S_ISLNK(status.st_mode):
                status = Path(path).stat()
                problem = _link_problem(self.root, name)
                if problem:
                    problem = f"is a link that {problem}"
        except FileNotFoundError:
            return "does not exist"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if problem:
            return problem
        return stamp_of(status) if stat.S_ISREG(status.st_mode) else "is no regular file"


def _link_problem(root: str, name: str) -> Problem:
    """Why the links on the way from ``root`` to ``name`` do not work in the container.

    Raises OSError when a part of the way is not there.
    """
    at: List[str] = []
    ahead = name.split("/")[::-1]
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not at:
                return "leads out of the root folder, which is all that the container sees"
            at.pop()
            continue
        path = "/".join([root, *at, part])
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            at.append(part)
            continue
        target = str(Path(path).readlink())
        if target.startswith("/"):
            return f"has the absolute target {target}, which the container does not have"
        ahead += target.split("/")[::-1]
    return ""


def decode_problem(data: bytes) -> Problem:
    """Why these bytes are no usable image; empty when they are one.

    The whole file is decoded (JPEG at an eighth of its size, which reads all of it), because
    only that finds a truncated one.
    """
    image, problem = _opened(data)
    if image is None:
        return problem
    try:
        image.draft("L", (IMAGE_SIDE // 8, IMAGE_SIDE // 8))
        image.load()
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        return f"is truncated or damaged: {error}"
    finally:
        image.close()
    return ""


def decode_pixels(data: bytes) -> Tuple[Optional[np.ndarray], Problem]:
    """The pixels of a stored image as the trainer sees them: uint8 (256, 256, 3), RGB.

    An EXIF orientation is not applied. None and the problem where `decode_problem` finds one.
    """
    image, problem = _opened(data)
    if image is None:
        return None, problem
    import numpy as np

    try:
        return np.asarray(image.convert("RGB")), ""
    except Exception as error:  # as above
        return None, f"is truncated or damaged: {error}"
    finally:
        image.close()


def _opened(data: bytes) -> Tuple[Optional[Image.Image], Problem]:
    """The image with what its header says checked, none of it decoded yet."""
    from PIL import Image

    # Pillow would warn of many pixels, or refuse them without saying how many there are; here the
    # size is checked before a pixel is decoded.
    Image.MAX_IMAGE_PIXELS = None
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:
        return None, f"is not an image ({' or '.join(FORMATS)})"
    problem = ""
    if image.size != (IMAGE_SIDE, IMAGE_SIDE):
        width, height = image.size
        problem = f"has {width}x{height} pixels, expected {IMAGE_SIDE}x{IMAGE_SIDE}"
    elif image.mode.startswith("I"):
        # Pillow's conversion to RGB makes 255 of everything above it.
        problem = "has 16 bits per pixel, of which training would see white; expected 8"
    if not problem:
        return image, ""
    image.close()
    return None, problem


def read_file(path: str) -> Tuple[bytes, Optional[os.stat_result], Problem]:
    """A file's bytes and its status, or the problem; a file that changes meanwhile is one."""
    try:
        with open(path, "rb") as stream:
            before = os.fstat(stream.fileno())
            data = stream.read()
            after = os.fstat(stream.fileno())
    except OSError as error:
        return b"", None, f"cannot be read: {error.strerror}"
    if stamp_of(before) != stamp_of(after) or len(data) != before.st_size:
        return b"", None, "changed while it was being read"
    return data, before, ""


def read_digest(path: str, *, decode: bool) -> Tuple[str, Problem]:
    """Return (sha256, "") of a file, or ("", what is wrong); ``decode`` checks the image too."""
    data, _, problem = read_file(path)
    if decode and not problem:
        problem = decode_problem(data)
    return ("", problem) if problem else (hashlib.sha256(data).hexdigest(), "")
