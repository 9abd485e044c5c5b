from pathlib import Path
from typing import Any

import pytest

from container.download import Downloader
from container.trouble import Trouble
from container.wheel_index import (
    Candidate,
    PipSettings,
    WheelIndex,
    best_file,
    read_page,
    read_pip_settings,
    supported_tags,
)

DEFAULT = "https://default.invalid/simple"
TAGS = supported_tags("3.11", "2.36")
AT_ONCE = Downloader(sleep=lambda _seconds: None)


def names(*filenames: str) -> list[Candidate]:
    return [Candidate(name, f"file:///{name}") for name in filenames]


def test_pip_settings_are_merged_as_pip_does() -> None:
    listing = """\
:env:.find-links='/wheels'
:env:.default-timeout='180'
global.cert='/ca.pem'
global.extra-index-url='file:///a/simple https://b.invalid/simple'
global.find-links='/other'
global.index-url='https://global.invalid/simple'
install.index-url='https://install.invalid/simple'
freeze.index-url='https://freeze.invalid/simple'
"""
    assert read_pip_settings(listing, DEFAULT) == PipSettings(
        indexes=(
            "https://install.invalid/simple",
            "file:///a/simple",
            "https://b.invalid/simple",
        ),
        find_links=("/wheels",),
        certificates="/ca.pem",
    )


def test_without_settings_pip_s_default_is_used() -> None:
    assert read_pip_settings("", DEFAULT) == PipSettings(indexes=(DEFAULT,))


def test_no_index_leaves_find_links() -> None:
    listing = "global.no-index='true'\nglobal.find-links='a b'\n"
    assert read_pip_settings(listing, DEFAULT) == PipSettings(indexes=(), find_links=("a", "b"))


def test_an_html_page_gives_names_addresses_and_hashes() -> None:
    page = """<html><a href="../../files/a-1.0%2Bcpu-py3-none-any.whl#sha256=ab">a</a>
    <a href="https://x.invalid/a-2.tar.gz">a-2</a><a name="top">top</a></html>"""
    assert read_page(page, "text/html", "https://i.invalid/simple/a/") == [
        Candidate(
            "a-1.0+cpu-py3-none-any.whl",
            "https://i.invalid/files/a-1.0%2Bcpu-py3-none-any.whl",
            "ab",
        ),
        Candidate("a-2.tar.gz", "https://x.invalid/a-2.tar.gz", None),
    ]


def test_a_json_page_gives_the_same() -> None:
    page = '{"files": [{"filename": "a-1.tar.gz", "url": "../a-1.tar.gz", "hashes": {}}]}'
    kind = "application/vnd.pypi.simple.v1+json"
    assert read_page(page, kind, "https://i.invalid/simple/a/") == [
        Candidate("a-1.tar.gz", "https://i.invalid/simple/a-1.tar.gz", None)
    ]


@pytest.mark.parametrize(
    ("filenames", "chosen"),
    [
        # The most specific wheel that fits Python 3.11 and glibc 2.36.
        (
            [
                "a-1-py3-none-any.whl",
                "a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                "a-1-cp311-cp311-manylinux_2_28_x86_64.whl",
                "a-1-cp311-cp311-manylinux_2_39_x86_64.whl",
                "a-1-cp312-cp312-manylinux_2_28_x86_64.whl",
                "a-1-cp311-cp311-win_amd64.whl",
                "a-1-cp38-abi3-manylinux_2_28_x86_64.whl",
            ],
            "a-1-cp311-cp311-manylinux_2_28_x86_64.whl",
        ),
        (
            ["a-1-py2.py3-none-any.whl", "a-1-cp38-abi3-manylinux1_x86_64.whl"],
            "a-1-cp38-abi3-manylinux1_x86_64.whl",
        ),
        (["a-1-py2.py3-none-any.whl", "a-2-py3-none-any.whl"], "a-1-py2.py3-none-any.whl"),
        (["a-1-2-py3-none-any.whl"], "a-1-2-py3-none-any.whl"),
        (["a-1-cp310-cp310-manylinux1_x86_64.whl", "a-1.tar.gz", "b-1-py3-none-any.whl"], None),
    ],
)
def test_the_wheel_that_fits_best_is_chosen(filenames: list[str], chosen: Any) -> None:
    found = best_file(names(*filenames), "a", "1", "wheel", TAGS)
    assert (found and found.filename) == chosen


def test_an_sdist_is_chosen_by_its_normalised_name() -> None:
    candidates = names(
        "a_b-1.tar.gz.asc", "A.b-1.tar.gz", "a-b-1.1.tar.gz", "a_b-1-py3-none-any.whl"
    )
    found = best_file(candidates, "a-b", "1", "sdist", TAGS)
    assert found is not None
    assert found.filename == "A.b-1.tar.gz"


def test_all_places_are_read_in_order(tmp_path: Path, web: Any) -> None:
    links, index = tmp_path / "links", tmp_path / "simple" / "a-b"
    links.mkdir()
    index.mkdir(parents=True)
    (links / "a_b-1.tar.gz").touch()
    (index / "index.html").write_text('<a href="a_b-2.tar.gz">x</a>')
    (web.folder / "simple/a-b").mkdir(parents=True)
    (web.folder / "simple/a-b/index.html").write_text('{"files": []}')
    (web.folder / "simple/a-b/index.html").write_text('<a href="a_b-3.tar.gz">x</a>')
    settings = PipSettings(
        indexes=(web.url + "simple/", (tmp_path / "simple").as_uri(), web.url + "nothing"),
        find_links=(str(links),),
    )
    found = WheelIndex(settings, AT_ONCE).candidates("A_b")
    assert [one.filename for one in found] == ["a_b-1.tar.gz", "a_b-3.tar.gz", "a_b-2.tar.gz"]
    assert found[1].url == f"{web.url}simple/a-b/a_b-3.tar.gz"


def test_an_index_that_does_not_answer_is_named_without_its_password(web: Any) -> None:
    index = web.url.replace("http://", "http://me:secret@") + "simple"
    web.answers["/simple/a/"] = [503] * 4
    with pytest.raises(Trouble) as caught:
        WheelIndex(PipSettings((index,)), AT_ONCE).candidates("a")
    assert str(caught.value) == (
        f"{web.url}simple does not answer: 503 Service Unavailable\n"
        "-> check the network and pip's index settings, then try again"
    )
