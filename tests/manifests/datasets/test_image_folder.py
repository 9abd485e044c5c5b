"""Where images lie: roots under any name, links, names that only look the same."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any, Callable, List

import pytest

from container.progress import Silent
from container.trouble import Trouble
from manifests.datasets.check import check
from manifests.datasets.digest_cache import DigestCache, stamp_of
from manifests.datasets.fingerprint import scan_images
from manifests.datasets.image_folder import ImageFolder, absolute, link_advice
from manifests.datasets.inputs import read_images, read_lists
from manifests.datasets.list_file import read_list
from manifests.datasets.mean_of_list import write_mean
from manifests.datasets.pack import pack

ADVICE = (
    "for links: `cp -rL ROOT NEW` makes a folder of the images themselves, to be named as root "
    "instead (`cp -rlL` takes no room where all is on one file system); repair other images or "
    "take them out of the list"
)


@pytest.fixture
def images(tmp_path: Path, jpeg: Callable[..., bytes]) -> Path:
    folder = tmp_path / "real"
    (folder / "a").mkdir(parents=True)
    for number in (0, 1):
        (folder / "a" / f"{number}.jpg").write_bytes(jpeg(seed=number))
    return folder


def listed(folder: Path, lines: List[str]) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{line} 0\n" for line in lines))
    return path


def roots(images: Path, monkeypatch: pytest.MonkeyPatch) -> List[Path]:
    """The same folder under its many names."""
    monkeypatch.chdir(images.parent)
    Path("link").symlink_to("real")
    Path("away").symlink_to(images)
    return [
        images, Path("real"), Path("./real/"), Path("real/../real"), Path("/" + str(images)),
        Path("//" + str(images)), Path("link"), Path("away"), images.parent / "link",
    ]  # fmt: skip


def test_absolute_paths_below_the_root(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = roots(images, monkeypatch)
    for path in (images, images.parent / "link", Path("//" + str(images)), images.parent / "away"):
        lines = [f"{path}/a/0.jpg", f"{path}/a/../a/1.jpg", f"{path}//a/./0.jpg"]
        for root in names:
            found = read_list(listed(images.parent, lines), root=root)
            assert found.paths == ["a/0.jpg", "a/1.jpg", "a/0.jpg"], (path, root)


def test_the_root_of_all(images: Path) -> None:
    list_file = listed(images.parent, [f"{images}/a/0.jpg", f"{images}/a/1.jpg"[1:]])
    inside = str(images)[1:]
    for root in ("/", "//", "/."):
        samples = read_list(list_file, root=Path(root))
        assert samples.paths == [f"{inside}/a/0.jpg", f"{inside}/a/1.jpg"]
        found, problems = scan_images(samples, Path(root), cache_folder=None, progress=Silent())
        assert problems == [] and found is not None
    (images / "a" / "1.jpg").unlink()
    _, problems = scan_images(samples, Path("/"), cache_folder=None, progress=Silent())
    assert problems == [f"{list_file}, line 2: {images}/a/1.jpg does not exist"]


def test_where_a_link_leads_counts_and_not_the_text(images: Path) -> None:
    (images.parent / "other" / "deep").mkdir(parents=True)
    (images / "out").symlink_to("../other/deep")
    lines = ["out/../x.jpg", f"{images}/../other/y.jpg", "../real/a/0.jpg", "a/.."]
    with pytest.raises(Trouble) as caught:
        read_list(listed(images.parent, lines), root=images)
    where = f"{images.parent}/list.txt"
    assert caught.value.problems == [
        f"{where}, line 1: path 'out/../x.jpg' is outside of the root folder {images}",
        f"{where}, line 2: path '{images}/../other/y.jpg' is outside of the root folder {images}",
        f"{where}, line 4: path 'a/..' is outside of the root folder {images}",
    ]


def test_a_file_is_remembered_under_one_name(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the root is called: `submit` then does not read what `check` read."""
    monkeypatch.setattr("manifests.datasets.digest_cache.SETTLED_NS", -(10**12))
    monkeypatch.chdir(tmp_path)
    list_file = listed(tmp_path, ["a/0.jpg"])
    samples = read_list(list_file, root=Path("real"))
    scan_images(samples, Path("real"), cache_folder=tmp_path / "cache", progress=Silent())
    cache = DigestCache(tmp_path / "cache")
    path = images / "a" / "0.jpg"
    assert list(cache.known({str(path): stamp_of(path.stat())})) == [str(path)]
    cache.close()


def test_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = [absolute(Path(path)) for path in ("/", "//", "//x/../y", "a/./b", ".")]
    assert found == ["/", "/", "/y", f"{tmp_path}/a/b", str(tmp_path)]
    assert ImageFolder.of(Path("/")).path("a") == "/a"
    assert ImageFolder.of(Path("//x/")).show("a") == "/x/a"
    assert ImageFolder.of(Path("x")).show("a\u2028") == "x/a\\u2028"


def link_problem(images: Path) -> str:
    return (
        f"{images.parent}/list.txt, line 1: {images}/away/0.jpg is reached through a link that has "
        f"the absolute target {images}/a, which the container does not have"
    )


def test_links_with_absolute_targets_and_the_command_that_helps(
    images: Path, tmp_path: Path, mean_bytes: bytes
) -> None:
    (images / "away").symlink_to(images / "a")
    list_file = listed(tmp_path, ["away/0.jpg", "a/1.jpg"])
    (tmp_path / "mean.npy").write_bytes(mean_bytes)
    before = sorted(tmp_path.rglob("*"))

    def refused(act: Callable[[], Any]) -> str:
        with pytest.raises(Trouble) as caught:
            act()
        assert sorted(tmp_path.rglob("*")) == before
        return str(caught.value)

    lists = {"train": list_file, "val": list_file, "mean": tmp_path / "mean.npy"}
    places = {"train_root": images, "val_root": images}
    both = read_lists(**lists, **places, nclasses=1)
    problem = link_problem(images)
    assert refused(lambda: read_images(both, **places, cache_folder=None, progress=Silent())) == (
        f"{problem}\n{problem}\n-> {ADVICE}"
    )
    assert refused(
        lambda: write_mean(list_file, images, tmp_path / "new" / "m.npy", progress=Silent())
    ) == (f"{problem}\n-> {ADVICE}")
    assert refused(lambda: pack(list_file, images, tmp_path / "p", progress=Silent())) == (
        f"{problem}\n-> {ADVICE}"
    )
    looked = {"nclasses": None, "mean": None, "cache_folder": None, "progress": Silent()}
    found = check(list_file, images, **looked)  # type: ignore[arg-type]
    assert found.lines() == [
        f"{list_file}: 2 samples of 1 classes, 2 to 2 each", problem, "problems: 1", f"-> {ADVICE}",
    ]  # fmt: skip
    for options in ("-rL", "-rlL"):
        new = tmp_path / f"new{options}"
        assert os.spawnlp(os.P_WAIT, "cp", "cp", options, str(images), str(new)) == 0
        good = check(list_file, new, **looked)  # type: ignore[arg-type]
        assert good.good, good.lines()
    assert (tmp_path / "new-rlL" / "away" / "0.jpg").stat().st_nlink >= 3


def test_advice_is_for_links_only() -> None:
    assert link_advice([]) == link_advice(["x does not exist"]) == ""


def test_names_that_differ_in_unicode_form_only(tmp_path: Path, jpeg: Callable[..., bytes]) -> None:
    nfc, nfd = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    (tmp_path / nfd).mkdir()
    (tmp_path / nfd / f"{nfd}.jpg").write_bytes(jpeg())
    (tmp_path / nfc).mkdir()
    lines = [f"{nfd}/{nfc}.jpg", f"{nfd}/{nfd}.jpg", f"{nfd}/ü.jpg", f"ü/{nfd}.jpg"]
    samples = read_list(listed(tmp_path, lines), root=tmp_path)
    _, problems = scan_images(samples, tmp_path, cache_folder=None, progress=Silent())
    where = f"{tmp_path}/list.txt"
    assert problems == [
        f"{where}, line 1: {tmp_path}/{nfd}/{nfc}.jpg does not exist; a name there differs in "
        "Unicode form only (NFC, NFD)",
        f"{where}, line 3: {tmp_path}/{nfd}/ü.jpg does not exist",
        f"{where}, line 4: {tmp_path}/ü/{nfd}.jpg does not exist",
    ]


def test_links_to_nothing_and_names_with_invisible_characters(
    tmp_path: Path, jpeg: Callable[..., bytes]
) -> None:
    """Files that were joined have byte order marks in the middle."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.jpg").write_bytes(jpeg())
    (tmp_path / "a" / "1.jpg").symlink_to("gone\u2028.jpg")
    (tmp_path / "away").symlink_to("/no/such")
    lines = [
        "\ufeffa/0.jpg",
        "a/0\u200b.jpg",
        "a/\ufeff2.jpg",
        "a/1.jpg",
        "away/x.jpg",
        "b/x.jpg",
        " a/0.jpg",
    ]
    samples = read_list(listed(tmp_path, ["a/0.jpg", *lines]), root=tmp_path)
    _, problems = scan_images(samples, tmp_path, cache_folder=None, progress=Silent())
    twin = "does not exist; a name there differs in invisible characters only"
    assert [problem.partition(f"{tmp_path}/list.txt, line ")[2] for problem in problems] == [
        f"2: {tmp_path}/\\ufeffa/0.jpg {twin}",
        f"3: {tmp_path}/a/0\\u200b.jpg {twin}",
        f"4: {tmp_path}/a/\\ufeff2.jpg does not exist",
        f"5: {tmp_path}/a/1.jpg is a link to gone\\u2028.jpg, which does not exist",
        f"6: {tmp_path}/away/x.jpg is reached through a link to /no/such, which does not exist",
        f"7: {tmp_path}/b/x.jpg does not exist",
        f"8: {tmp_path}/ a/0.jpg {twin}",
    ]
