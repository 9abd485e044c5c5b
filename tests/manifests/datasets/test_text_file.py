"""Text files as people save them, on any system and with any editor."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from container.trouble import Trouble
from manifests.datasets.class_tree import samples_of_tree
from manifests.datasets.classes import read_classes, write_classes
from manifests.datasets.list_file import read_list
from manifests.datasets.make_list import list_tree
from manifests.datasets.names import printable
from manifests.datasets.synsets import NEXT_STEP as SYNSETS_NEXT_STEP
from manifests.datasets.synsets import read_synsets
from manifests.datasets.text_file import scan_lines

BOM = b"\xef\xbb\xbf"
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (BOM + b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\r", ["a", "b"]),
        (b"a\nb\n\n \t\n\r\n", ["a", "b"]),
        (b"\na\n\nb\n", ["", "a", "", "b"]),
        ("a\u2028b\u0085c\x0bd\n".encode(), ["a\u2028b\u0085c\x0bd"]),
        (b"", []),
        (BOM, []),
        (b"\n\n", []),
    ],
)
def test_lines(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    (tmp_path / "x.txt").write_bytes(data)
    assert scan_lines(tmp_path / "x.txt") == (lines, [])


def test_what_is_no_text_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    for coding in ("utf-16", "utf-16-le", "utf-16-be"):
        path.write_bytes("\ufeffa 0\n".encode(coding) if coding[6:] else "a 0\n".encode(coding))
        assert scan_lines(path) == ([], [
            f"{path}: is UTF-16 text, expected UTF-8 (iconv -f UTF-16 -t UTF-8 converts it)"
        ])  # fmt: skip
    for coding in ("utf-16-le", "utf-16-be", "utf-32"):  # the first two have no mark
        path.write_bytes("é.jpg 0\n日.jpg 1\n".encode(coding))
        name = coding.upper() if coding == "utf-32" else coding.upper()[:6] + coding[7:].upper()
        assert scan_lines(path) == ([], [
            f"{path}: is {name} text, expected UTF-8 (iconv -f {name} -t UTF-8 converts it)"
        ])  # fmt: skip
    path.write_bytes(b"x" * 100 + b"\xff" + b"y" * 10**6)
    shown = "x" * 100 + "\\xff" + "y" * 99 + "…"
    assert scan_lines(path) == ([], [f"{path}, line 1: is not UTF-8 text: '{shown}'"])
    for end in (b"\n", b"\r\n", b"\r"):
        path.write_bytes(BOM + end.join([b"good", b"caf\xe9 \xa0x", b"\xff", b""]))
        assert scan_lines(path) == ([], [
            f"{path}, line 2: is not UTF-8 text: 'caf\\xe9 \\xa0x'"
        ])  # fmt: skip
    path.unlink()
    assert scan_lines(path) == ([], [f"{path}: cannot be read: No such file or directory"])
    assert scan_lines(tmp_path) == ([], [f"{tmp_path}: cannot be read: Is a directory"])


def test_every_reader_takes_what_windows_saves(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(BOM + b"n01\r\nn02\r\n\r\n")
    assert read_classes(path) == ["n01", "n02"]
    path.write_bytes(BOM + b"1 n02\r\n2 n01\r\n\r\n")
    assert read_synsets(path) == {1: "n02", 2: "n01"}
    path.write_bytes(BOM + b"a.jpg 0\r\n\r\nb.jpg 1\r\n")
    samples = read_list(path, root=tmp_path)
    assert (samples.paths, samples.lines) == (["a.jpg", "b.jpg"], [1, 3])


def test_a_name_with_a_line_separator_is_read_again(tmp_path: Path) -> None:
    names = ["a\u2028b", "c\u0085d", "\ufeffe", "f "]
    write_classes(tmp_path / "x.txt", ["first", *names])
    assert read_classes(tmp_path / "x.txt") == ["first", *names]


@pytest.mark.parametrize(
    "names",
    [
        [" g ", "b\u2028", "c\u0085d", "f\u00a0", "h\u200b", "\u3000e", "\ufeffa"],
        ["\ufeffa", "\ufeffb"],  # the first character of both files
    ],
)
def test_what_data_list_writes_is_read_again(tmp_path: Path, names: list[str]) -> None:
    tree = tmp_path / "t"
    for name in names:
        (tree / name).mkdir(parents=True)
        (tree / name / f"{name}.jpg").write_bytes(b"")
    list_tree(tree, tmp_path / "l.txt", None)
    assert read_classes(tmp_path / "classes.txt") == sorted(names)
    samples = read_list(tmp_path / "l.txt", root=tree)
    assert samples.paths == [f"{name}/{name}.jpg" for name in sorted(names)]
    list_tree(tree, tmp_path / "again.txt", None)
    assert (tmp_path / "again.txt").read_bytes() == (tmp_path / "l.txt").read_bytes()


def test_a_folder_of_white_space_is_no_class(tmp_path: Path) -> None:
    for name in (" ", "a"):
        (tmp_path / "t" / name).mkdir(parents=True)
        (tmp_path / "t" / name / "x.jpg").write_bytes(b"")
    with pytest.raises(Trouble) as caught:
        list_tree(tmp_path / "t", tmp_path / "l.txt", None)
    assert caught.value.problems[0] == f"{tmp_path}/t/ : its name is nothing but white space"
    assert not (tmp_path / "classes.txt").exists()


def test_a_blank_line_in_the_middle_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("n01\n\nn02\n")
    with pytest.raises(Trouble) as caught:
        read_classes(path)
    assert str(caught.value) == (
        f"{path}, line 2: is empty\n"
        "-> give a file with one class name per line, in the order of the labels"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本", "plain é 日本"),
        ("a\u2028b", "a\\u2028b"),
        ("\ufeffc0", "\\ufeffc0"),
        ("a\u200bb\u00a0c", "a\\u200bb\\xa0c"),
        ("caf\udce9", "caf\\xe9"),
        ("a\nb\t\x1b[31m", "a\\nb\\t\\x1b[31m"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_invisible_characters_are_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_invisible_characters_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("1 n\u200b01\n2 n\u200b01\n", encoding="utf-8")
    with pytest.raises(Trouble) as caught:
        read_synsets(path)
    assert str(caught.value) == (
        f"{path}: n\\u200b01 has the numbers 1 and 2\n-> {SYNSETS_NEXT_STEP}"
    )
    path.write_text("a\ufeff\na\ufeff\n", encoding="utf-8")
    with pytest.raises(Trouble) as caught:
        read_classes(path)
    assert caught.value.problems == [f"{path}, line 2: class 'a\\ufeff' stands in line 1 already"]
    path.write_text("a.jpg x\u00ad\nb\u200d.jpg\n/c\u2066.jpg 0\n", encoding="utf-8")
    with pytest.raises(Trouble) as caught:
        read_list(path, root=tmp_path)
    assert caught.value.problems == [
        f"{path}, line 1: label 'x\\xad' is not a whole number from 0 on",
        f"{path}, line 2: found 'b\\u200d.jpg', expected `<path> <label>`",
        f"{path}, line 3: path '/c\\u2066.jpg' is outside of the root folder {tmp_path}",
    ]


def test_a_class_that_differs_in_unicode_form_only(tmp_path: Path) -> None:
    assert NFC != NFD
    (tmp_path / "tree" / NFD).mkdir(parents=True)
    (tmp_path / "tree" / NFD / "a.jpg").write_bytes(b"")
    classes = tmp_path / "classes.txt"
    with pytest.raises(Trouble) as caught:
        samples_of_tree(tmp_path / "tree", [NFC], classes)
    only = "; one there differs in Unicode form only (NFC, NFD)"
    assert caught.value.problems == [
        f"{tmp_path}/tree/{NFD}: is not a class of {classes}{only}",
        f"{tmp_path}/tree/{NFC}: class 0 has no image{only}",
    ]


def test_a_class_that_differs_in_invisible_characters_only(tmp_path: Path) -> None:
    (tmp_path / "tree" / "b").mkdir(parents=True)
    (tmp_path / "tree" / "b" / "a.jpg").write_bytes(b"")
    (tmp_path / "tree" / "c").mkdir()
    (tmp_path / "tree" / "c" / "a.jpg").write_bytes(b"")
    classes = tmp_path / "classes.txt"
    with pytest.raises(Trouble) as caught:
        samples_of_tree(tmp_path / "tree", ["\ufeffb", "c"], classes)
    only = "; one there differs in invisible characters only"
    assert caught.value.problems == [
        f"{tmp_path}/tree/b: is not a class of {classes}{only}",
        f"{tmp_path}/tree/\\ufeffb: class 0 has no image{only}",
    ]
    with pytest.raises(Trouble) as caught:
        samples_of_tree(tmp_path / "tree", ["b", "c "], classes)
    assert caught.value.problems == [
        f"{tmp_path}/tree/c: is not a class of {classes}{only}",
        f"{tmp_path}/tree/c : class 1 has no image{only}",
    ]
