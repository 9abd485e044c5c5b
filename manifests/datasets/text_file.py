"""Text files that people write: lists, classes, synsets, ground truth. One reader for all."""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

from manifests.datasets.names import excerpt

#: The longer ones first: one mark is the beginning of another.
_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)  # fmt: skip
#: So much of a file without a mark tells how its characters are coded.
_LOOK = 4096


def scan_lines(path: Path) -> Tuple[List[str], List[str]]:
    """Return the lines of a file without their ends, and its problems.

    Lines end with LF, CR LF or CR, as on Unix, Windows and old Macs; not at U+2028 and its like,
    which may stand in names. A byte order mark at the beginning and blank lines at the end are
    dropped, so that line N is the item N - 1.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        return [], [f"{path}: cannot be read: {error.strerror}"]
    return file_lines(data, str(path))


def text_bytes(text: str) -> bytes:
    """What `scan_lines` reads again as this text, be its first character a byte order mark."""
    return text.encode("utf-8-sig" if text.startswith("\ufeff") else "utf-8")


def file_lines(data: bytes, where: str) -> Tuple[List[str], List[str]]:
    """`scan_lines` of a file's bytes."""
    other = _other_encoding(data)
    if other:
        return [], [
            f"{where}: is {other} text, expected UTF-8 (iconv -f {other} -t UTF-8 converts it)"
        ]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = _unix(data[: error.start].decode("utf-8-sig"))
        rest = data[error.start :].decode("utf-8", "surrogateescape")
        line = before.rpartition("\n")[2] + _unix(rest).split("\n", 1)[0]
        number = before.count("\n") + 1
        return [], [f"{where}, line {number}: is not UTF-8 text: '{excerpt(line.strip())}'"]
    lines = _unix(text).split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines, []


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _other_encoding(data: bytes) -> str:
    """The name of an encoding other than UTF-8; "" where the bytes do not look like one.

    In UTF-16 without a mark every other byte of what is ASCII is 0.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    look = data[:_LOOK]
    for zeros, others, name in (
        (look[1::2], look[::2], "UTF-16LE"),
        (look[::2], look[1::2], "UTF-16BE"),
    ):
        if len(look) >= 8 and 2 * zeros.count(0) > len(zeros) and 0 not in others:
            return name
    return ""
