import os
from pathlib import Path
from typing import Callable

import pytest

from container.cache import Cache, cache_of, cache_root
from container.digest import sha256_of_bytes
from container.lock import LockedFile
from container.store import Store
from container.trouble import Trouble


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "sha256")


def arrival(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "arrived"
    path.write_bytes(content)
    return path


def test_an_input_is_found_under_its_digest(
    store: Store, tmp_path: Path, locked: Callable[..., LockedFile]
) -> None:
    file = locked("hello", b"abc")
    assert store.find(file) is None
    entry = store.adopt(arrival(tmp_path, b"abc"), file)
    digest = sha256_of_bytes(b"abc")
    assert entry == tmp_path / "sha256" / digest[:2] / digest
    assert store.find(file) == entry
    assert not (tmp_path / "arrived").exists()


@pytest.mark.parametrize(
    ("altered", "fault"),
    [
        (b"abd", f"expected sha256 {sha256_of_bytes(b'abc')}, found {sha256_of_bytes(b'abd')}"),
        (b"ab", "expected 3 bytes, found 2"),
        (b"", "expected 3 bytes, found 0"),
    ],
)
def test_an_altered_entry_is_named_and_replaced(
    store: Store, tmp_path: Path, locked: Callable[..., LockedFile], altered: bytes, fault: str
) -> None:
    file = locked("hello", b"abc")
    assert store.fault(file) is None
    entry = store.adopt(arrival(tmp_path, b"abc"), file)
    assert store.fault(file) is None
    entry.write_bytes(altered)
    assert store.find(file) is None
    assert store.fault(file) == (f"the stored copy of hello_1.0+b1_amd64.deb was altered ({fault})")
    assert store.adopt(arrival(tmp_path, b"abc"), file) == entry
    assert store.find(file) == entry


@pytest.mark.parametrize("kind", ["folder", "broken link"])
def test_something_else_in_an_entry_s_place_is_named(
    store: Store, locked: Callable[..., LockedFile], kind: str
) -> None:
    file = locked("hello", b"abc")
    entry = store.path(file.sha256)
    entry.parent.mkdir(parents=True)
    if kind == "folder":
        entry.mkdir()
    else:
        entry.symlink_to("nowhere")
    with pytest.raises(Trouble) as caught:
        store.find(file)
    assert str(caught.value) == (
        f"{entry}: is not a file, though its name is that of a stored input\n"
        "-> remove it, then build again"
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"abd", f"expected sha256 {sha256_of_bytes(b'abc')}, found {sha256_of_bytes(b'abd')}"),
        (b"abcd", "expected 3 bytes, found 4"),
    ],
)
def test_another_file_is_refused_and_not_kept(
    store: Store,
    tmp_path: Path,
    locked: Callable[..., LockedFile],
    content: bytes,
    fault: str,
) -> None:
    with pytest.raises(Trouble) as caught:
        store.adopt(arrival(tmp_path, content), locked("hello", b"abc"))
    assert str(caught.value) == (
        f"hello_1.0+b1_amd64.deb: {fault}\n"
        "-> the source serves another file than the lock names: "
        "try again, or name another one with --mirror or pip's index settings"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"BUNDLE_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"BUNDLE_CACHE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/bundle"),
        ({"HOME": "/c"}, "/c/.cache/bundle"),
        ({"BUNDLE_CACHE": "~/a b", "HOME": "/c"}, "/c/a b"),
        ({"BUNDLE_CACHE": "~", "HOME": "/c"}, "/c"),
        ({"XDG_CACHE_HOME": "b", "HOME": "/c"}, "/c/.cache/bundle"),
    ],
)
def test_where_the_cache_is(environ: dict, expected: str) -> None:
    assert cache_root(environ) == Path(expected)


# --- a cache of a group ---------------------------------------------------------------------


def test_a_cache_that_may_only_be_read_is_a_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, home = tmp_path / "group", tmp_path / "home"
    environ = {"BUNDLE_CACHE": str(group), "HOME": str(home)}
    assert cache_of(environ) == Cache(group)  # to be made
    group.mkdir()
    assert cache_of(environ) == Cache(group)
    access = os.access

    def asked(path: Path, mode: int) -> bool:
        return access(path, mode) and not (path == group and mode & os.W_OK)

    monkeypatch.setattr(os, "access", asked)
    assert cache_of(environ) == Cache(home / ".cache" / "bundle", shared=group)
    assert cache_of({**environ, "XDG_CACHE_HOME": str(tmp_path)}).root == tmp_path / "bundle"


def test_inputs_are_taken_from_the_groups_store_and_added_to_the_own(
    tmp_path: Path, locked: Callable[..., LockedFile]
) -> None:
    group, own = tmp_path / "group", tmp_path / "own"
    shared, alone = locked("shared", b"shared"), locked("alone", b"alone")
    for file, content in ((shared, b"shared"), (alone, b"altered")):
        entry = Store(group).path(file.sha256)
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_bytes(content)
    store = Store(own, group)
    assert store.find(shared) == store.path(shared.sha256) == Store(group).path(shared.sha256)
    assert store.find(alone) is None  # not what it is called
    assert store.adopt(arrival(tmp_path, b"alone"), alone) == Store(own).path(alone.sha256)
    assert store.find(alone) == store.path(alone.sha256) == Store(own).path(alone.sha256)
    assert Store(group).path(alone.sha256).read_bytes() == b"altered"
