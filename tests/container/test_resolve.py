import shutil
from pathlib import Path
from typing import Callable

import pytest

from container.digest import sha256_of_bytes
from container.download import Downloader
from container.lock import LockedFile, lock_text
from container.resolve import merge_debian, read_printed_uris, resolve, resolve_python
from container.sources import configured_index
from container.stack import DebianChoice, PythonChoice, PythonPin, Stack
from container.trouble import Trouble
from container.wheel_index import PipSettings, WheelIndex

BASE = "http://mirror.invalid/debian/"
needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="this machine has no apt")


def choice(**changes: object) -> DebianChoice:
    values = {
        "release": "bookworm",
        "architecture": "amd64",
        "packages": ["hostname"],
        "tools": [],
        "exclude": {},
    }
    return DebianChoice.model_validate({**values, **changes})


def test_apt_s_lines_become_locked_files() -> None:
    printed = (
        f"'{BASE}pool/main/a/attr/libattr1_2.5.1-4_amd64.deb' libattr1_1%3a2.5.1-4_amd64.deb "
        f"22232 SHA256:{'ab' * 32}\n"
        f"'{BASE}pool/main/g/gcc-12/gcc-12-base_12.2.0-14%2bdeb12u1_amd64.deb' "
        f"gcc-12-base_12.2.0-14+deb12u1_amd64.deb 37596 SHA256:{'cd' * 32}\n"
    )
    found = read_printed_uris(printed, BASE)
    assert [(file.name, file.version, file.file, file.size) for file in found] == [
        ("libattr1", "1:2.5.1-4", "pool/main/a/attr/libattr1_2.5.1-4_amd64.deb", 22232),
        (
            "gcc-12-base",
            "12.2.0-14+deb12u1",
            "pool/main/g/gcc-12/gcc-12-base_12.2.0-14+deb12u1_amd64.deb",
            37596,
        ),
    ]


def test_a_line_of_another_kind_is_trouble() -> None:
    with pytest.raises(Trouble) as caught:
        read_printed_uris("Do you want to continue?", BASE)
    assert str(caught.value) == (
        "apt answered with a line that is not a package: Do you want to continue?"
    )


def test_files_are_merged_with_their_roles(locked: Callable[..., LockedFile]) -> None:
    image = [locked("libc6"), locked("dpkg"), locked("bash")]
    tools = [locked("squashfs-tools"), locked("libc6")]
    merged = merge_debian(choice(exclude={"dpkg": "never used"}), image, tools)
    assert [(file.name, file.roles) for file in merged.files] == [
        ("bash", ["image"]),
        ("libc6", ["image", "tools"]),
        ("squashfs-tools", ["tools"]),
    ]


def test_an_exclusion_that_excludes_nothing_is_refused(locked: Callable[..., LockedFile]) -> None:
    with pytest.raises(Trouble) as caught:
        merge_debian(choice(exclude={"perl": "x", "apt": "y"}), [locked("bash")], [])
    assert str(caught.value) == (
        "debian.exclude.apt: nothing asks for this package\n"
        "debian.exclude.perl: nothing asks for this package\n"
        "-> take these lines out of the stack file"
    )


def pins(*pairs: tuple[str, str, str]) -> PythonChoice:
    packages = [PythonPin.model_validate(dict(zip(("name", "version", "kind"), p))) for p in pairs]
    return PythonChoice(version="3.11", glibc="2.36", packages=packages, build=packages[:1])


def links(folder: Path, *names: str) -> WheelIndex:
    for name in names:
        (folder / name).write_bytes(name.encode())
    return WheelIndex(PipSettings(indexes=(), find_links=(str(folder),)), Downloader())


def test_python_pins_become_locked_files(tmp_path: Path) -> None:
    index = links(tmp_path, "six-1.17.0-py2.py3-none-any.whl", "chainer-7.8.1.tar.gz")
    wanted = pins(("six", "1.17.0", "wheel"), ("chainer", "7.8.1", "sdist"))
    files = resolve_python(wanted, index).files
    assert [(file.name, file.kind, file.file, file.roles) for file in files] == [
        ("chainer", "sdist", "chainer-7.8.1.tar.gz", ["image"]),
        ("six", "wheel", "six-1.17.0-py2.py3-none-any.whl", ["build", "image"]),
    ]
    assert files[0].sha256 == sha256_of_bytes(b"chainer-7.8.1.tar.gz")


def test_fetched_files_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU stack has 1.5 GB of them, and /tmp may be small."""
    index = links(tmp_path, "six-1.17.0-py2.py3-none-any.whl", "chainer-7.8.1.tar.gz")
    lying = []

    class Watched(Downloader):
        def to_file(self, url: str, target: Path) -> None:
            lying.append(sorted(path.name for path in target.parent.iterdir()))
            super().to_file(url, target)

    monkeypatch.setattr(index, "downloader", Watched())
    resolve_python(pins(("six", "1.17.0", "wheel"), ("chainer", "7.8.1", "sdist")), index)
    assert lying == [[], []]


def test_every_pin_that_no_index_has_is_named(tmp_path: Path) -> None:
    index = links(tmp_path, "six-1.17.0.tar.gz")
    wanted = pins(("six", "1.17.0", "wheel"), ("chainer", "7.8.1", "sdist"))
    with pytest.raises(Trouble) as caught:
        resolve_python(wanted, index)
    assert str(caught.value) == (
        "chainer 7.8.1: no configured index has a sdist of it\n"
        "six 1.17.0: no configured index has a wheel of it\n"
        "-> correct the pins, or let pip's settings name another index"
    )


def stack(debian: DebianChoice) -> Stack:
    return Stack(
        stack="tiny",
        timestamp=1,
        compression="none",
        debian=debian,
        python=pins(("six", "1.17.0", "wheel")),
        environment={},
        drop=[],
        probes=[],
    )


@needs_apt
@pytest.mark.slow
def test_resolving_twice_gives_the_same_bytes() -> None:
    locks = [resolve(stack(choice()), mirror=None, index=configured_index()) for _ in range(2)]
    assert lock_text(locks[0]) == lock_text(locks[1])
    assert "://" not in lock_text(locks[0])
    assert {"hostname", "libc6"} <= {file.name for file in locks[0].debian.files}


@needs_apt
@pytest.mark.slow
def test_a_package_that_does_not_exist_is_named() -> None:
    with pytest.raises(Trouble) as caught:
        resolve(
            stack(choice(packages=["no-such-package-here"])),
            mirror=None,
            index=configured_index(),
        )
    assert str(caught.value) == (
        "E: Unable to locate package no-such-package-here\n"
        "-> check the packages of the stack file, and the mirror (--mirror URL)"
    )
