import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Callable

import pytest

from container.unpack_deb import BadPackage, unpack

REG, DIR, SYM, LNK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A merged-/usr root, as Singularity.def makes it."""
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    return root


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_modes_and_links_are_unpacked(make_deb: Callable[..., Path], root: Path) -> None:
    deb = make_deb(
        "a.deb",
        ("./lib", DIR, 0o755, b""),
        ("./lib/x", DIR, 0o700, b""),
        ("./lib/x/program", REG, 0o4755, b"#!"),
        ("./lib/x/same", LNK, 0o4755, "./lib/x/program"),
        ("./lib/x/link", SYM, 0o777, "/absolute/target"),
        ("./tmp", DIR, 0o1777, b""),
    )
    unpack(deb, root)
    assert (root / "lib").is_symlink()
    program = root / "usr/lib/x/program"
    assert (program.read_bytes(), mode(program), mode(program.parent)) == (b"#!", 0o755, 0o700)
    assert (root / "usr/lib/x/same").samefile(program)
    assert str((root / "usr/lib/x/link").readlink()) == "/absolute/target"
    assert mode(root / "tmp") == 0o1777


def test_a_later_package_replaces_files(make_deb: Callable[..., Path], root: Path) -> None:
    unpack(make_deb("a.deb", ("./f", REG, 0o644, b"1"), ("./g", SYM, 0o777, "f")), root)
    unpack(make_deb("b.deb", ("./f", REG, 0o600, b"2"), ("./g", REG, 0o644, b"3")), root)
    assert ((root / "f").read_bytes(), (root / "g").read_bytes()) == (b"2", b"3")


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ([("../evil", REG, 0o644, b"")], "../evil"),
        ([("./usr/..", REG, 0o644, b"")], "usr/.."),
        ([("./out", SYM, 0o777, "/"), ("./out/tmp-evil", REG, 0o644, b"")], "out/tmp-evil"),
    ],
)
def test_nothing_is_written_outside(
    make_deb: Callable[..., Path], root: Path, members: Any, name: str
) -> None:
    with pytest.raises(BadPackage) as caught:
        unpack(make_deb("a.deb", *members), root)
    assert str(caught.value) == f"{name}: would be unpacked outside of {root}"
    assert not (root.parent / "evil").exists()


def test_what_is_no_package_is_named(project: Path, root: Path) -> None:
    bad = root.parent / "bad.deb"
    bad.write_bytes(b"no package at all")
    done = subprocess.run(
        [sys.executable, str(project / "container/unpack_deb.py"), str(root), str(bad)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"unpack_deb: bad.deb: {bad}: is not a Debian package\n"
