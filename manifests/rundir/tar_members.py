"""Export files as tar: every byte of a header follows from the name, size and mode of its member

The form is that of pax (POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"):
every tar unpacks it. Owners and times are 0. A reader makes each header again and compares it, so
a file with anything else in it, such as a link, a device or another owner, is refused.
"""

from __future__ import annotations

import re
from typing import BinaryIO, Dict, List, NamedTuple, Optional, Tuple

BLOCK = 512
#: Two blocks of zeros.
END = bytes(2 * BLOCK)

#: Modes of members: files, programs, and both of a snapshot, which is read-only.
MODES = (0o644, 0o755, 0o444, 0o555)

#: Folders that a name may have: libraries go down such trees by calling themselves.
MOST_FOLDERS = 128
#: Bytes that the extended header of one member may have.
_MOST_EXTENDED = 64 * 1024
_PAX_NAME = b"././@PaxHeader"
#: From this size on the octal number of a header has no room for it.
_LARGE = 8**11

_TYPES = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device",
    b"5": "a folder", b"6": "a pipe", b"S": "a sparse file",
}  # fmt: skip
#: An empty part of a path, ``.`` or ``..``.
_NO_PATH = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class TarFault(Exception):
    """Not such a file; the text is a sentence without its subject."""


class Entry(NamedTuple):
    """One member: its name, bytes of its content, and mode."""

    name: str
    size: int
    mode: int


def header(name: str, size: int, mode: int) -> bytes:
    """The blocks before the content of a member."""
    records: Dict[str, str] = {}
    encoded = name.encode("utf-8")
    parts = _split(encoded) if encoded.isascii() else None
    if parts is None:
        records["path"] = name
        parts = b"", encoded.decode("utf-8").encode("ascii", "replace")[-100:]
    if size >= _LARGE:
        records["size"] = str(size)
    extended = b""
    if records:
        text = b"".join(_pax_record(key, value) for key, value in sorted(records.items()))
        extended = _block(b"", _PAX_NAME, len(text), 0o644, b"x") + text + padding(len(text))
    return extended + _block(*parts, 0 if size >= _LARGE else size, mode, b"0")


def padding(size: int) -> bytes:
    """What fills the last block of a content of ``size`` bytes."""
    return bytes(-size % BLOCK)


def room_of(name: str, size: int) -> int:
    """Bytes that a member takes with its header and padding."""
    return len(header(name, size, 0o644)) + size + -size % BLOCK


def name_problem(name: str) -> str:
    """Why no member may have this name, a sentence without its subject; "" where it may."""
    if _NO_PATH.search(name):
        return "is not a path below the run directory"
    if name.count("/") > MOST_FOLDERS:
        return f"is more than {MOST_FOLDERS} folders deep"
    if _CONTROL.search(name):
        return "has control characters"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return ""


def read_entry(stream: BinaryIO) -> Entry:
    """Read the header of the next member. Raises TarFault where `header` gives other bytes."""
    at = stream.tell()
    raw = first = _read(stream, BLOCK)
    records: Dict[bytes, bytes] = {}
    if first[156:157] == b"x":
        length = _octal(first[124:136], at)
        if length > _MOST_EXTENDED:
            raise TarFault(f"is damaged at byte {at}: a header has {length} bytes")
        text = _read(stream, length)
        records = _pax_records(text, at)
        raw += text + _read(stream, -length % BLOCK)
        first = _read(stream, BLOCK)
        raw += first
    _check_sum(first, at)
    name, size, mode = _fields(first, records, at)
    kind = _TYPES.get(first[156:157])
    if kind is not None:
        raise TarFault(f"has {name!r}, which is {kind}; expected files only")
    problem = name_problem(name)
    if problem:
        raise TarFault(f"has a file whose name {name!r} {problem}")
    if mode not in MODES or raw != header(name, size, mode):
        raise TarFault(f"was not written by bundle: the header of {name!r} has other fields")
    return Entry(name, size, mode)


def _fields(block: bytes, records: Dict[bytes, bytes], at: int) -> Tuple[str, int, int]:
    name, prefix = block[:100].rstrip(b"\0"), block[345:500].rstrip(b"\0")
    whole = records.get(b"path", prefix + b"/" * bool(prefix) + name)
    size = records.get(b"size", b"")
    if len(size) > 18 or not (size.isdigit() or not size):
        raise TarFault(f"is damaged at byte {at}: {size[:40]!r} is not a size")
    return (
        whole.decode("utf-8", "surrogateescape"),
        int(size) if size else _octal(block[124:136], at),
        _octal(block[100:108], at),
    )


def _split(name: bytes) -> Optional[Tuple[bytes, bytes]]:
    """Prefix and name as the ustar form has them; None for names that are too long for it."""
    if len(name) <= 100:
        return b"", name
    place = name.find(b"/", len(name) - 101)
    if 0 < place <= 155 and place + 1 < len(name):
        return name[:place], name[place + 1 :]
    return None


def _block(prefix: bytes, name: bytes, size: int, mode: int, kind: bytes) -> bytes:
    block = b"".join(
        [
            name.ljust(100, b"\0"),
            b"%07o\0" % mode,
            b"0000000\0" * 2,  # owner and group
            b"%011o\0" % size,
            b"00000000000\0",  # time
            b" " * 8,
            kind,
            bytes(100),
            b"ustar\x0000",
            bytes(64),  # names of owner and group
            b"0000000\0" * 2,  # device
            prefix.ljust(155, b"\0"),
            bytes(12),
        ]
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _pax_record(key: str, value: str) -> bytes:
    """``LENGTH KEY=VALUE\\n``, where the length counts itself."""
    rest = f" {key}={value}\n".encode()
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _pax_records(text: bytes, at: int) -> Dict[bytes, bytes]:
    records: Dict[bytes, bytes] = {}
    while text:
        length, _, _ = text.partition(b" ")
        if not length.isdigit() or not len(length) < int(length[:9]) <= len(text):
            raise TarFault(f"is damaged at byte {at}: a header cannot be read")
        key, _, value = text[len(length) + 1 : int(length)].partition(b"=")
        records[key] = value.rstrip(b"\n")
        text = text[int(length) :]
    return records


def _check_sum(block: bytes, at: int) -> None:
    without = block[:148] + b" " * 8 + block[156:]
    if block[257:262] != b"ustar" or _octal(block[148:156], at) != sum(without):
        raise TarFault(f"is damaged at byte {at}: expected the header of a file")


def _octal(field: bytes, at: int) -> int:
    text = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]+", text):
        raise TarFault(f"is damaged at byte {at}: expected the header of a file")
    return int(text, 8)


def _read(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise TarFault("is cut off")
    return data


# --- the list of digests --------------------------------------------------------------------


def sum_line(sha256: str, name: str) -> bytes:
    """A line as sha256sum writes and checks it."""
    escaped = name.replace("\\", "\\\\")
    return f"{chr(92) * (escaped != name)}{sha256}  {escaped}\n".encode()


_SUM = re.compile(r"(\\?)([0-9a-f]{64})  (.+)", re.DOTALL)


def parse_sum(line: bytes) -> Optional[Tuple[str, str]]:
    """(name, sha256) of a line without its end; None where it is not one of :func:`sum_line`."""
    try:
        found = _SUM.fullmatch(line.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    name = found[3].replace("\\\\", "\\") if found[1] else found[3]
    return (name, found[2]) if sum_line(found[2], name) == line + b"\n" else None


def total(entries: List[Entry]) -> int:
    """Bytes of these members and of the end of the file."""
    return sum(room_of(entry.name, entry.size) for entry in entries) + len(END)
