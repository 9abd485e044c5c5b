"""What is wrong with a JPEG file that decoders only warn of: they fill in what is lost.

libjpeg-turbo tells its first warning, by way of simplejpeg. Lost data and codes that do not exist
are damage. Bytes too many before a marker need not be: some writers leave a few there. But they
are also what remains where a part of the data was overwritten. Then the codes decide: a walk along
them, which takes a second for a large image, and is rare.
"""

from __future__ import annotations

import re
from typing import Any, Optional

from container.trouble import Trouble
from manifests.datasets.jpeg_stream import (
    SOF_PROGRESSIVE,
    SOF_SEQUENTIAL,
    ZEROS,
    StreamFault,
    missing_scans,
    scan_leftovers,
    segments,
    without_notes,
    zero_filled,
)

#: Bytes too many that a writer may have left at the end of a scan; of equal ones any number.
MOST_LEFT = 4
#: Less than 65535 by so much as the edges of an image of any shape may add.
_MOST_UNITS = 48000
#: Blocks of 8x8 pixels that a unit covers, by simplejpeg's names of the sampling of colours.
_BLOCKS_OF_A_UNIT = {"422": 2, "440": 2, "420": 4, "411": 4}
_LONG_INTERVAL = b"\xff\xdd\0\x04\xff\xff"
_ZEROS_INSIDE = "has zeros in the place of a part of its data"
_EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_HARMLESS = ("Adobe", "JFIF", "Invalid SOS parameters", "ICC")
_WARNINGS = ("Corrupt JPEG data", "Premature end", *_HARMLESS)


def frame_of(data: bytes) -> Optional[int]:
    """The marker of the frame, which says how the file was coded; None where there is none."""
    return next((segment.code for segment in segments(data) if segment.is_frame), None)


def jpeg_damage(data: bytes) -> Optional[str]:
    """What is wrong with a JPEG file, as a phrase without subject; "" for a whole one.

    None where this cannot tell: libjpeg-turbo refuses the file, or does not decode its kind at an
    eighth of its size. The decoder that is asked for pixels then says why. A few bytes that are
    lost or too many in the middle of a scan may go unnoticed, as by any decoder.

    Raises MemoryError.
    """
    try:
        return _damage(data)
    except (IndexError, ValueError):  # segments that are shorter than they say
        return "has a damaged header"


def _damage(data: bytes) -> Optional[str]:
    if zero_filled(data):
        return _ZEROS_INSIDE
    warning = _warning(data)
    if warning is None:
        return None
    if warning and _may_be_harmless(warning):
        # The next warning, if there is one, is told once what brought the first is taken out.
        data = without_notes(data)
        bare = _warning(data)
        if bare is None:
            return f"is truncated or damaged: {warning}, and more that is wrong with its header"
        warning = bare
    if warning and not _may_be_harmless(warning):
        return f"is truncated or damaged: {warning}"
    frame, extra = frame_of(data), _EXTRA.search(warning)
    if frame == SOF_PROGRESSIVE and missing_scans(data):
        return "lacks its last scans"
    if extra is None:
        return ""
    lost = f"has {extra[1]} bytes too many in its data: a part was lost or overwritten"
    if frame in SOF_SEQUENTIAL:
        return _sequential_damage(data, lost)
    if extra[2] == "d9" and int(extra[1]) <= MOST_LEFT:
        return ""
    # Between the scans of a progressive file no writer leaves anything but, maybe, zeros.
    ends = [segment.entropy[-int(extra[1]) :] for segment in segments(data) if segment.is_scan]
    return "" if any(not end.strip(b"\0") for end in ends) else lost


def _carefully(data: bytes, pixels: int, sampling: str) -> bytes:
    """The same image with a restart interval that is longer than it is.

    libjpeg-turbo takes codes that do not exist without a word, but where restarts are to be
    expected (jdhuff.c, jdphuff.c has no such haste). An interval is of at most 65535 units.
    """
    units = pixels // 64
    if units >= _MOST_UNITS and data.count(b"\xff\xda") == 1:  # all components in one scan
        units //= _BLOCKS_OF_A_UNIT.get(sampling, 1)
    return data[:2] + _LONG_INTERVAL + data[2:] if units < _MOST_UNITS else data


def _may_be_harmless(warning: str) -> bool:
    return _EXTRA.search(warning) is not None or any(word in warning for word in _HARMLESS)


def _decoder() -> Any:
    """Imported where it is used: of threads that import a module in vain only one learns why."""
    try:
        import simplejpeg
    except ImportError as error:
        raise Trouble(
            f"the package simplejpeg, which tells damaged JPEG files, cannot be imported: {error}",
            "run: make setup",
        ) from error
    return simplejpeg


def _warning(data: bytes) -> Optional[str]:
    """libjpeg-turbo's first warning; "" where it has none, None where it refuses the file."""
    simplejpeg = _decoder()
    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(data)
        simplejpeg.decode_jpeg(
            _carefully(data, width * height, sampling),
            colorspace="CMYK" if colours in ("CMYK", "YCCK") else "GRAY",
            min_factor=8,
        )
    except ValueError as error:
        text = str(error)
        if "nsufficient memory" in text:
            raise MemoryError(text) from error
        return text if any(word in text for word in _WARNINGS) else None
    return ""


def _sequential_damage(data: bytes, lost: str) -> str:
    """Whether what is before the bytes too many is an image, whole and undisturbed."""
    try:
        for taken, left in scan_leftovers(data):
            if len(left) > MOST_LEFT and len(set(left)) > 1:
                return lost
            if ZEROS in taken and zero_filled(data, to_the_end=True):
                return _ZEROS_INSIDE
    except StreamFault as fault:
        return str(fault)
    return ""
