from pathlib import Path
from typing import Any, Callable, List, Tuple

import pytest

from container.digest import sha256_of_bytes
from container.download import Downloader, NotFetched
from container.lock import Lock, LockedFile
from container.sources import (
    APT_HELPER,
    BATCH,
    AptSource,
    IndexSource,
    MirrorSource,
    Source,
    apt_problem,
    deb_source,
    folder_first,
)
from container.trouble import Trouble
from container.wheel_index import PipSettings, WheelIndex

NAME = "hello_1.0+b1_amd64.deb"
POOL = "pool/main/h/hello/hello_1.0+b1_amd64.deb"
OTHER_MIRROR = "check the network, or name a mirror that has these files with --mirror URL"
needs_apt = pytest.mark.skipif(not Path(APT_HELPER).exists(), reason="this machine has no apt")


def downloader() -> Tuple[Downloader, List[float]]:
    waits: List[float] = []
    return Downloader(sleep=waits.append), waits


def fetched(source: Source, file: LockedFile, folder: Path) -> List[str]:
    folder.mkdir(exist_ok=True)
    seen: List[str] = []
    source.fetch([file], folder, lambda one, path: seen.append(f"{one.name} {path.name}"))
    return seen


def put(folder: Path, content: bytes) -> None:
    target = folder / POOL
    target.parent.mkdir(parents=True)
    target.write_bytes(content)


@pytest.fixture(params=["http", "file", pytest.param("apt", marks=needs_apt)])
def mirror(request: Any, tmp_path: Path, web: Any) -> Tuple[Path, Source]:
    """The folder that a mirror serves, and the source that reads it."""
    if request.param == "http":
        return web.folder, MirrorSource(web.url, downloader()[0])
    folder = tmp_path / "mirror"
    folder.mkdir()
    base = folder.as_uri() + "/"
    if request.param == "file":
        return folder, MirrorSource(base, downloader()[0])
    # apt's own copy method; the loopback server would go through the machine's proxy settings.
    return folder, AptSource(base.replace("file:", "copy:"))


def test_a_mirror_gives_the_locked_file(
    mirror: Tuple[Path, Source], tmp_path: Path, locked: Callable[..., LockedFile]
) -> None:
    folder, source = mirror
    put(folder, b"abc")
    arrivals = tmp_path / "arrivals"
    assert fetched(source, locked("hello", b"abc"), arrivals) == [f"hello {NAME}"]
    assert (arrivals / NAME).read_bytes() == b"abc"


def test_an_altered_package_is_named_with_both_digests(
    mirror: Tuple[Path, Source], tmp_path: Path, locked: Callable[..., LockedFile]
) -> None:
    folder, source = mirror
    put(folder, b"abd")
    arrivals = tmp_path / "arrivals"
    with pytest.raises(Trouble) as caught:
        fetched(source, locked("hello", b"abc"), arrivals)
    assert str(caught.value) == (
        f"{NAME}: expected sha256 {sha256_of_bytes(b'abc')}, found {sha256_of_bytes(b'abd')}\n"
        f"-> {OTHER_MIRROR}"
    )
    assert not (arrivals / NAME).exists()


def test_a_missing_package_is_named(
    mirror: Tuple[Path, Source], tmp_path: Path, locked: Callable[..., LockedFile]
) -> None:
    _, source = mirror
    arrivals = tmp_path / "arrivals"
    with pytest.raises(Trouble) as caught:
        fetched(source, locked("hello", b"abc"), arrivals)
    [problem] = caught.value.problems
    assert problem.startswith(f"{NAME}: cannot be fetched: ")
    assert problem.endswith(f" (expected 3 bytes, sha256 {sha256_of_bytes(b'abc')})")
    assert caught.value.next_step == OTHER_MIRROR
    assert list(arrivals.iterdir()) == []


def test_all_missing_packages_are_named_at_once(
    web: Any, tmp_path: Path, locked: Callable[..., LockedFile]
) -> None:
    source = MirrorSource(web.url, downloader()[0])
    with pytest.raises(Trouble) as caught:
        source.fetch([locked("one"), locked("two")], tmp_path, lambda _file, _path: None)
    digest = sha256_of_bytes(b"content")
    assert caught.value.problems == [
        f"{name}_1.0+b1_amd64.deb: cannot be fetched: 404 File not found "
        f"(expected 7 bytes, sha256 {digest})"
        for name in ("one", "two")
    ]


@needs_apt
def test_apt_names_what_is_missing_in_every_batch(
    tmp_path: Path, locked: Callable[..., LockedFile]
) -> None:
    """One of the first batch and one of the second; a mirror without anything is left sooner."""
    folder, arrivals = tmp_path / "mirror", tmp_path / "arrivals"
    arrivals.mkdir()
    files = [locked(f"p{number:02}", str(number).encode()) for number in range(2 * BATCH + 1)]
    source = AptSource("copy:" + str(folder) + "/")
    with pytest.raises(Trouble) as caught:
        source.fetch(files, arrivals, lambda _file, _path: None)
    problems = caught.value.problems
    assert [text.partition(":")[0] for text in problems[:-1]] == [
        file.basename for file in files[:BATCH]
    ]
    names = ", ".join(file.basename for file in files[BATCH:])
    assert problems[-1] == f"skipped after this failure: {names}"

    lacking = (files[3], files[BATCH + 1])
    for number, file in enumerate(files):
        if file not in lacking:
            (folder / file.file).parent.mkdir(parents=True)
            (folder / file.file).write_bytes(str(number).encode())
    seen: List[str] = []
    with pytest.raises(Trouble) as caught:
        source.fetch(files, arrivals, lambda file, _path: seen.append(file.name))
    assert [text.partition(":")[0] for text in caught.value.problems] == [
        file.basename for file in lacking
    ]
    assert seen == [file.name for file in files if file not in lacking]


def test_a_server_that_stumbles_is_asked_again(web: Any, tmp_path: Path) -> None:
    (web.folder / "a").write_bytes(b"abc")
    web.answers["/a"] = [503, 429, 500]
    source, waits = downloader()
    source.to_file(web.url + "a", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"abc"
    assert waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(("codes", "waits_expected"), [([503] * 9, 3), ([404], 0), ([403], 0)])
def test_a_server_that_refuses_is_not_asked_for_ever(
    web: Any, tmp_path: Path, codes: List[int], waits_expected: int
) -> None:
    web.answers["/a"] = list(codes)
    source, waits = downloader()
    with pytest.raises(NotFetched):
        source.to_file(web.url + "a", tmp_path / "got")
    assert len(waits) == waits_expected
    assert not (tmp_path / "got").exists()


def wheel_in(lock: Lock) -> LockedFile:
    return lock.python.files[0]


def test_an_index_gives_the_locked_wheel(small_lock: Lock, web: Any, tmp_path: Path) -> None:
    """The first place has another file of that name: the next one is asked."""
    wheel = wheel_in(small_lock)
    for place, content, claim in (("one", b"sxi", ""), ("two", b"six", f"#sha256={wheel.sha256}")):
        page = web.folder / place / "six"
        page.mkdir(parents=True)
        (page / wheel.file).write_bytes(content)
        (page / "index.html").write_text(f'<a href="{wheel.file}{claim}">six</a>')
    index = WheelIndex(PipSettings((web.url + "one", web.url + "two")), downloader()[0])
    assert fetched(IndexSource(index), wheel, tmp_path / "arrivals") == [f"six {wheel.file}"]


@pytest.mark.parametrize(
    ("page", "content", "fault"),
    [
        ("", None, "cannot be fetched: no configured package index lists it "
                   "(expected 3 bytes, sha256 {expected})"),
        ('<a href="{file}">x</a>', None, "cannot be fetched: 404 File not found "
                                         "(expected 3 bytes, sha256 {expected})"),
        ('<a href="{file}">x</a>', b"sxi", "expected sha256 {expected}, found {found}"),
        ('<a href="{file}#sha256=00">x</a>', b"six",
         "expected sha256 {expected}, found 00 in the index"),
    ],
)  # fmt: skip
def test_a_wheel_that_cannot_be_had_is_named(
    small_lock: Lock, web: Any, tmp_path: Path, page: str, content: Any, fault: str
) -> None:
    wheel = wheel_in(small_lock)
    folder = web.folder / "simple/six"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(page.format(file=wheel.file))
    if content is not None:
        (folder / wheel.file).write_bytes(content)
    index = WheelIndex(PipSettings((web.url + "simple",)), downloader()[0])
    with pytest.raises(Trouble) as caught:
        fetched(IndexSource(index), wheel, tmp_path / "arrivals")
    text = fault.format(expected=wheel.sha256, found=sha256_of_bytes(b"sxi"))
    assert str(caught.value) == (
        f"{wheel.file}: {text}\n"
        "-> check the network, or let pip's settings (index-url, extra-index-url, find-links) "
        "name an index that has these files"
    )
    assert list((tmp_path / "arrivals").iterdir()) == []


def test_apt_s_own_reason_is_given(locked: Callable[..., LockedFile]) -> None:
    file = locked("hello", b"abc")
    assert apt_problem(file, "W: x\nE: Could not resolve 'mirror'\nE: Download Failed") == (
        f"{NAME}: cannot be fetched: Could not resolve 'mirror' "
        f"(expected 3 bytes, sha256 {file.sha256})"
    )


def test_a_mirror_s_url_needs_no_slash() -> None:
    assert deb_source("http://mirror.invalid/debian") == MirrorSource(
        "http://mirror.invalid/debian/", Downloader()
    )


def test_a_folder_goes_first(tmp_path: Path) -> None:
    here, other = tmp_path / "packages", tmp_path / "arrivals"
    here.mkdir()
    files = [
        LockedFile(
            name=name, version="1", file=f"pool/{name}.deb", size=2,
            sha256=sha256_of_bytes(name.encode() * 2), roles=["image"],
        )
        for name in "abc"
    ]  # fmt: skip
    (here / "a.deb").write_bytes(b"aa")
    (here / "b.deb").write_bytes(b"xx")  # altered: it is fetched
    asked: List[str] = []

    class Elsewhere:
        def fetch(self, files: Any, folder: Path, arrived: Any) -> None:
            asked.extend(file.name for file in files)

    arrived: List[Tuple[str, bytes]] = []
    other.mkdir()
    source = folder_first(here, Elsewhere())
    source.fetch(files, other, lambda file, path: arrived.append((file.name, path.read_bytes())))
    assert (asked, arrived) == (["b", "c"], [("a", b"aa")])
    elsewhere = Elsewhere()
    assert folder_first(None, elsewhere) is elsewhere
    assert folder_first(tmp_path / "no", elsewhere) is elsewhere
