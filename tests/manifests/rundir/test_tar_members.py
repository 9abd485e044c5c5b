"""The headers of export files: what tar reads, and what is refused"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from manifests.rundir.tar_members import (
    BLOCK,
    END,
    Entry,
    TarFault,
    header,
    name_problem,
    padding,
    parse_sum,
    read_entry,
    sum_line,
)

NAMES = (
    "run/a",
    "run/" + "d" * 96,
    "run/" + "d" * 97,
    "run/" + "d" * 120 + "/" + "f" * 100,
    "run/" + "d" * 155 + "/" + "f" * 99,
    "run/" + "f" * 200,
    "run/" + "/".join(["deep"] * 60),
    "run/Fußgänger/写真.jpg",
    'run/it\'s a "$(name)"\\ ',
)


def test_tar_unpacks_every_name(tmp_path: Path) -> None:
    content = b"".join(
        header(name, len(name.encode()), 0o444) + name.encode() + padding(len(name.encode()))
        for name in NAMES
    )
    (tmp_path / "file.tar").write_bytes(content + END)
    subprocess.run(["tar", "xf", "file.tar"], cwd=tmp_path, check=True)
    for name in NAMES:
        assert (tmp_path / name).read_text() == name
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o444
    with tarfile.open(tmp_path / "file.tar") as opened:
        members = opened.getmembers()
    assert tuple(member.name for member in members) == NAMES
    assert {(m.uid, m.gid, m.mtime, m.uname) for m in members} == {(0, 0, 0, "")}
    stream = io.BytesIO(content)
    for name in NAMES:
        entry = read_entry(stream)
        assert entry == Entry(name, len(name.encode()), 0o444)
        stream.seek(entry.size + -entry.size % BLOCK, 1)


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 200 * 1024**3])
def test_large_sizes(size: int) -> None:
    raw = header("run/image.sif", size, 0o755)
    assert read_entry(io.BytesIO(raw)) == Entry("run/image.sif", size, 0o755)
    with tarfile.open(fileobj=io.BytesIO(raw + bytes(BLOCK))) as opened:
        first = opened.next()
    assert first is not None and first.size == size


def by_tarfile(**fields: Any) -> bytes:
    member = tarfile.TarInfo("run/a")
    for name, value in {"mode": 0o644, **fields}.items():
        setattr(member, name, value)
    return member.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (by_tarfile(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
         "has 'run/a', which is a symbolic link; expected files only"),
        (by_tarfile(type=tarfile.LNKTYPE, linkname="run/b"),
         "has 'run/a', which is a hard link; expected files only"),
        (by_tarfile(type=tarfile.CHRTYPE), "has 'run/a', which is a device; expected files only"),
        (by_tarfile(type=tarfile.BLKTYPE), "has 'run/a', which is a device; expected files only"),
        (by_tarfile(type=tarfile.FIFOTYPE), "has 'run/a', which is a pipe; expected files only"),
        (by_tarfile(type=tarfile.DIRTYPE), "has 'run/a/', which is a folder; expected files only"),
        (by_tarfile(type=tarfile.GNUTYPE_SPARSE),
         "has 'run/a', which is a sparse file; expected files only"),
        (by_tarfile(name="/etc/passwd"),
         "has a file whose name '/etc/passwd' is not a path below the run directory"),
        (by_tarfile(name="run/../../x"),
         "has a file whose name 'run/../../x' is not a path below the run directory"),
        (by_tarfile(name="run/\n"), "has a file whose name 'run/\\n' has control characters"),
        (by_tarfile(mode=0o4755),
         "was not written by bundle: the header of 'run/a' has other fields"),
        (by_tarfile(mtime=1), "was not written by bundle: the header of 'run/a' has other fields"),
        (by_tarfile(uid=7), "was not written by bundle: the header of 'run/a' has other fields"),
        (by_tarfile(type=b"g"),
         "was not written by bundle: the header of 'run/a' has other fields"),
        (by_tarfile(pax_headers={"size": "9" * 30}),
         f"is damaged at byte 0: {b'9' * 30!r} is not a size"),
        (by_tarfile(pax_headers={"GNU.sparse.realsize": "99999999999"}),
         "was not written by bundle: the header of 'run/a' has other fields"),
        (b"x" * BLOCK, "is damaged at byte 0: expected the header of a file"),
        (bytes(BLOCK), "is damaged at byte 0: expected the header of a file"),
        (b"x" * 100, "is cut off"),
        (b"", "is cut off"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(TarFault) as caught:
        read_entry(io.BytesIO(raw))
    assert str(caught.value) == message


def test_no_byte_of_a_header_can_change() -> None:
    for name in ("run/a", "run/ü"):
        raw = header(name, 5, 0o644)
        for place in range(len(raw)):
            altered = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
            try:
                entry = read_entry(io.BytesIO(altered))
            except TarFault:
                continue
            # Another name that is as well one: the list of digests does not have it.
            assert entry.name != name and header(*entry) == altered, place


@pytest.mark.parametrize("name", ["a", "a  b", "a\\b", "\\", "ü/日本", " a "])
def test_lines_are_those_of_sha256sum(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    done = subprocess.run(
        ["sha256sum", "--", name], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    sha256 = done.lstrip(b"\\")[:64].decode()
    assert sum_line(sha256, name) == done
    assert parse_sum(done[:-1]) == (name, sha256)


@pytest.mark.parametrize(
    "line", [b"", b"x", b"0" * 64 + b" a", b"\\" + b"0" * 64 + b"  a", b"\xff"]
)
def test_other_lines(line: bytes) -> None:
    assert parse_sum(line) is None


def test_names() -> None:
    for name in ("", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/./b", "../a"):
        assert name_problem(name) == "is not a path below the run directory", name
    assert name_problem("a\tb") == "has control characters"
    assert name_problem("\udce9") == "is not UTF-8"
    assert name_problem("a..b/...") == ""
    assert name_problem("a/" * 128 + "f") == ""
    assert name_problem("a/" * 129 + "f") == "is more than 128 folders deep"
