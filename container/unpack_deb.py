"""Unpack the file trees of Debian packages into a folder: ``unpack_deb.py ROOT PACKAGE.deb…``.

Singularity.def runs it on the host, so it needs nothing but Python's standard library and no
dpkg. A .deb is an ar archive whose member ``data.tar.*`` holds the files (deb(5)). Owners and
times are not kept: the image is packed with one owner and one time.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import BinaryIO, Dict, List

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60  # bytes: name 16, time 12, uid 6, gid 6, mode 8, size 10, end 2
PERMISSIONS = 0o1777  # set-user and set-group bits have no effect in a container


class BadPackage(Exception):
    pass


def data_archive(package: Path) -> bytes:
    """The bytes of the package's ``data.tar.*`` member."""
    with package.open("rb") as stream:
        if stream.read(len(AR_MAGIC)) != AR_MAGIC:
            raise BadPackage(f"{package}: is not a Debian package")
        while len(header := stream.read(AR_HEADER)) == AR_HEADER:
            name = header[:16].rstrip(b" /").decode("ascii")
            size = int(header[48:58])
            if name.startswith("data.tar"):
                return stream.read(size)
            stream.seek(size + size % 2, io.SEEK_CUR)
    raise BadPackage(f"{package}: has no data.tar member")


def unpack(package: Path, root: Path) -> None:
    """Put the package's files below ``root``; folders that are links there stay links.

    Raises BadPackage when a file would land outside ``root``.
    """
    root = root.resolve()
    checked: Dict[Path, Path] = {}
    with tarfile.open(fileobj=io.BytesIO(data_archive(package))) as archive:
        for member in archive:
            parts = [part for part in member.name.split("/") if part not in ("", ".")]
            if parts:
                _place(archive, member, _inside(root, parts, checked), root)


def _inside(root: Path, parts: List[str], checked: Dict[Path, Path]) -> Path:
    parent = root.joinpath(*parts[:-1])
    if parent not in checked:
        real = parent.resolve()
        if real != root and root not in real.parents:
            raise BadPackage(f"{'/'.join(parts)}: would be unpacked outside of {root}")
        checked[parent] = real
    if parts[-1] == "..":
        raise BadPackage(f"{'/'.join(parts)}: would be unpacked outside of {root}")
    return checked[parent] / parts[-1]


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, root: Path) -> None:
    if member.isdir():
        if not target.is_dir():
            target.mkdir()
        if not target.is_symlink():
            target.chmod(member.mode & PERMISSIONS)
        return
    if target.is_symlink() or target.exists():
        target.unlink()
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        os.link(_inside(root, member.linkname.lstrip("./").split("/"), {}), target)
    elif member.isfile():
        content = archive.extractfile(member)
        assert content is not None
        _write(content, target)  # type: ignore[arg-type]
        target.chmod(member.mode & PERMISSIONS)
    else:
        raise BadPackage(f"{member.name}: is neither file, folder nor link")


def _write(content: BinaryIO, target: Path) -> None:
    with target.open("xb") as out:
        shutil.copyfileobj(content, out, 1 << 20)


def main(argv: List[str]) -> int:
    root, packages = Path(argv[0]), [Path(name) for name in argv[1:]]
    for package in packages:
        try:
            unpack(package, root)
        except (BadPackage, OSError, tarfile.TarError) as error:
            print(f"unpack_deb: {package.name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
