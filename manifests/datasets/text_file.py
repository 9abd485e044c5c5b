"""Text files that people write: lists, classes, synsets, ground truth. One reader for all."""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

from manifests.datasets.names import printable

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


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
    if data.startswith(_UTF16):
        return [], [
            f"{where}: is UTF-16 text, expected UTF-8 (iconv -f UTF-16 -t UTF-8 converts it)"
        ]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        line = data[start:].split(b"\n", 1)[0].decode("utf-8", "surrogateescape").strip()
        number = data.count(b"\n", 0, start) + 1
        return [], [f"{where}, line {number}: is not UTF-8 text: '{printable(line)[:200]}'"]
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines, []
