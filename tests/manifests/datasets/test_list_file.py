from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from container.trouble import Trouble
from manifests.datasets.list_file import NEXT_STEP, parse_list, read_list, render_list

ROOT = Path("/data/set")


def problems_of(text: str, nclasses: int = 8) -> List[str]:
    return parse_list(text, "l.txt", root=ROOT, nclasses=nclasses)[1]


def test_paths_with_spaces_and_quotes() -> None:
    text = 'a b.jpg 0\nit\'s "c".jpg\t1\n\nd.jpg   2\r\n/data/set/e/f.jpg 3\nx/../y..z.jpg 3'
    samples, problems = parse_list(text, "l.txt", root=ROOT, nclasses=4)
    assert problems == []
    assert samples.paths == ["a b.jpg", 'it\'s "c".jpg', "d.jpg", "e/f.jpg", "y..z.jpg"]
    assert samples.labels == [0, 1, 2, 3, 3]
    assert samples.lines == [1, 2, 4, 5, 6]
    assert samples.warnings == []


def test_empty_classes_are_named() -> None:
    samples, problems = parse_list("a 1\n", "l.txt", root=ROOT, nclasses=20)
    assert problems == []
    assert samples.warnings == [
        "l.txt: 19 of 20 classes have no sample: 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, …"
    ]
    # The line that is left out may be the class's only one.
    assert parse_list("a 1\nb x\n", "l.txt", root=ROOT, nclasses=3)[0].warnings == []


def test_every_problem_with_its_line() -> None:
    text = "a\nb c\nd 8\ne -1\nf\tg 1\n../h 1\n/data/i 1\nj 1\nk 1.0\nl " + "9" * 5000
    assert problems_of(text)[:-1] == [
        "l.txt, line 1: found 'a', expected `<path> <label>`",
        "l.txt, line 2: label 'c' is not a whole number from 0 to 7",
        "l.txt, line 3: label 8 is outside of 0 to 7 (nclasses)",
        "l.txt, line 4: label '-1' is not a whole number from 0 to 7",
        "l.txt, line 5: path 'f\\tg' has control characters",
        "l.txt, line 6: path '../h' is outside of the root folder /data/set",
        "l.txt, line 7: path '/data/i' is outside of the root folder /data/set",
        "l.txt, line 9: label '1.0' is not a whole number from 0 to 7",
    ]


def test_a_message_stays_short_whatever_the_file_is() -> None:
    """A file of JSON in one line, one that a full disk left with zeros at its end, an archive."""
    zeros = "a 1\n" + "\0" * 10**5
    for text, problem in (
        ("{" + '"a":1,' * 10**5 + "}", "line 1: found '{"),
        (zeros, "line 2: found '\\x00\\x00"),
        ("x" * 10**5 + "\0 1\n", f"line 1: path '{'x' * 200}…' has 100001 characters, more than"),
        ("a " + "\1" * 10**5, "line 1: label '\\x01\\x01"),
    ):
        (found,) = problems_of(text)
        assert found.startswith(f"l.txt, {problem}")
        assert len(found) < 1000


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_no_samples(text: str) -> None:
    assert problems_of(text) == ["l.txt: holds no samples"]


def test_many_problems_are_capped(tmp_path: Path) -> None:
    path = tmp_path / "l.txt"
    path.write_text("x\n" * 50)
    with pytest.raises(Trouble) as caught:
        read_list(path, root=ROOT, nclasses=2)
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == f"{path}: 30 more problems of this kind"
    assert caught.value.next_step == NEXT_STEP


def test_missing_and_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "l.txt"
    with pytest.raises(Trouble) as caught:
        read_list(path, root=ROOT, nclasses=2)
    assert str(caught.value) == (
        f"{path}: cannot be read: No such file or directory\n-> {NEXT_STEP}"
    )
    path.write_bytes(b"a 1\n\xff 1\n")
    with pytest.raises(Trouble) as caught:
        read_list(path, root=ROOT, nclasses=2)
    assert str(caught.value) == f"{path}, line 2: is not UTF-8 text: '\\xff 1'\n-> {NEXT_STEP}"


def test_without_a_number_of_classes_the_labels_say_it() -> None:
    _, problems = parse_list("a 0\nc x\n", "l.txt", root=ROOT, nclasses=None)
    assert problems == ["l.txt, line 2: label 'x' is not a whole number from 0 on"]
    samples, problems = parse_list("a 0\nb 700000000\n", "l.txt", root=ROOT, nclasses=None)
    assert problems == []
    assert samples.labels == [0, 700000000]
    assert samples.warnings == [
        "l.txt: 699999999 of 700000001 classes have no sample: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …"
    ]


def test_what_is_written_is_read_again() -> None:
    rows = [("a b.jpg", 0), ("  c/it's.jpg", 12), ("d..e/\u00e9\u2028.jpg", 3)]
    samples, problems = parse_list(render_list(rows).decode(), "l.txt", root=ROOT, nclasses=13)
    assert problems == []
    assert list(zip(samples.paths, samples.labels)) == rows


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg 0\nb c.jpg 1\n", "  a.jpg  0\n", "a.jpg\t1\n", "a.jpg\n", "a.jpg 0\n\nb.jpg 1\n",
        "/x/a.jpg 0\n", "../a.jpg 0\n", "a..b.jpg 0\n", "a.jpg 2\n", "a.jpg -1\n", "a.jpg ١\n",
        "a.jpg 0000000001\n", "a\x01.jpg 0\n", "a\0b.jpg 0\n", "5 0\n", "0 0\n", "a\u2028b.jpg 1\n",
        f"{'a' * 5000}.jpg 0\n", "a.jpg 1_0\n", "a.jpg +1\n", "\u3000a.jpg\u30001\n", "",
    ],
)  # fmt: skip
def test_a_list_looked_at_as_a_whole_is_what_it_is_line_by_line(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = parse_list(text, "l.txt", root=Path("/d"), nclasses=2)
    monkeypatch.setattr("manifests.datasets.list_file._plain_samples", lambda *_: None)
    assert quick == parse_list(text, "l.txt", root=Path("/d"), nclasses=2)
