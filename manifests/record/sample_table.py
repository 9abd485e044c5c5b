"""Sample tables, ``inputs/train.tsv`` and ``val.tsv``: sha256, label and path of each image."""

from __future__ import annotations

import re
from typing import NamedTuple

#: What a line must be, for messages.
FORM = "`<sha256>\\t<label>\\t<path>`"

_LINE = re.compile(rb"([0-9a-f]{64})\t([0-9]{1,10})\t([^\t\n]+)", re.DOTALL)


class Sample(NamedTuple):
    """``path`` is relative to the root of the set's images. Bytes that are not UTF-8, which no
    table that `submit` wrote has, are kept by surrogates."""

    sha256: str
    label: int
    path: str


class TableFault(ValueError):
    """A line that is none of a table."""


def write_sample(sample: Sample) -> bytes:
    """The line with its end."""
    return f"{sample.sha256}\t{sample.label}\t{sample.path}\n".encode()


def read_sample(line: bytes) -> Sample:
    """Read a line without its end. Raises TableFault."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise TableFault(f"is not {FORM}")
    sha256, label, path = found.groups()
    return Sample(sha256.decode(), int(label), path.decode("utf-8", "surrogateescape"))
