"""One image of a crop: is the stored one up to date, and if not, made from its original.

A stored image carries the digest and size of its original in a comment, and the original's
modification time as its own. Same size and time: up to date, and neither is read. Same digest: up
to date all the same, as where the originals were copied and got new times.
"""

from __future__ import annotations

import os
import stat
from enum import Enum
from pathlib import Path
from typing import Optional, Tuple

from container.atomic import place
from manifests.datasets.centre_crop import Origin, centre_crop, origin_of, read_note
from manifests.datasets.image_file import read_file
from manifests.datasets.image_folder import Problem
from manifests.datasets.pillow import decoding

#: The note lies at the beginning of the file, after 20 bytes of JFIF header.
_HEAD = 256
_END_OF_IMAGE = b"\xff\xd9"


class Outcome(Enum):
    MADE = "made"
    KEPT = "kept"
    UNUSABLE = "unusable"


def stored_origin(path: str) -> Tuple[Optional[Origin], int]:
    """What a stored image was made from, and its modification time in ns.

    None where there is none, or none of ours, or one that a crash of the machine cut short.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(_HEAD)
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 2))
            whole = stream.read() == _END_OF_IMAGE
            modified = os.fstat(stream.fileno()).st_mtime_ns
    except OSError:
        return None, 0
    return (read_note(head) if whole else None), modified


def bring_up_to_date(original: str, stored: str, scratch: Optional[str]) -> Tuple[Outcome, Problem]:
    """Make the stored image where it is missing or its original changed.

    ``scratch`` None writes nothing and says MADE of an image that would be tried. Raises OSError
    when the stored image cannot be written; what is wrong with the original is returned.
    """
    try:
        status = Path(original).stat()
    except OSError as error:
        return Outcome.UNUSABLE, f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return Outcome.UNUSABLE, "is not a regular file"
    before, modified = stored_origin(stored)
    if before is None and scratch is None:
        return Outcome.MADE, ""
    if before and before.size == status.st_size and modified == status.st_mtime_ns:
        return Outcome.KEPT, ""
    data, read, problem = read_file(original)
    if read is not None:
        origin = origin_of(data)
        if scratch is None or origin == before:
            return (Outcome.KEPT if origin == before else Outcome.MADE), ""
        with decoding(original):
            jpeg, problem = centre_crop(data, origin)
        if not problem:
            place(jpeg, stored, scratch=scratch, modified_ns=read.st_mtime_ns)
            return Outcome.MADE, ""
    kept = "; the image made from its earlier state was kept" if before else ""
    return Outcome.UNUSABLE, problem + kept
