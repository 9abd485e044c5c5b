from __future__ import annotations

from pathlib import Path

import pytest

from container.trouble import Trouble
from container.yaml_text import load_yaml


def load(tmp_path: Path, text: str, name: str = "f.yaml") -> object:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return load_yaml(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("12", 12),
        ("-3", -3), ("1.5", 1.5), ("1e-3", 0.001), ("-.5", -0.5), ("2.", 2.0),
        ("y", "y"), ("No", "No"), ("off", "off"), ("10:00:00", "10:00:00"), ("007", "007"),
        ("0x10", "0x10"), ("1_000", "1_000"), ("2026-01-31", "2026-01-31"), ('"8"', "8"),
        ("=", "="),
    ],
)  # fmt: skip
def test_only_json_words_are_special(tmp_path: Path, text: str, value: object) -> None:
    found = load(tmp_path, f"key: {text}\n")
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


def test_merge_keys_work(tmp_path: Path) -> None:
    assert load(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
    }


def test_json_with_tabs_and_surrogates(tmp_path: Path) -> None:
    assert load(tmp_path, '{\n\t"a": "\\ud83d\\ude00"\n}', "f.json") == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("f.yaml", "a: 1\na: 2\n", ", line 2, column 1: is not YAML: key 'a' is given twice\n"
         "-> correct that line"),
        ("f.yaml", "a: [1\n", ", line 2, column 1: is not YAML: expected ',' or ']', but got "
         "'<stream end>'\n-> correct that line"),
        ("f.yaml", "a: 1\nb: \x01\n", ", line 2: is not YAML: special characters are not allowed\n"
         "-> correct that line"),
        ("f.yaml", "a: !!python/object:os.system x", ", line 1, column 4: is not YAML: could not "
         "determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'\n"
         "-> correct that line"),
        ("f.json", '{"a" 1}', ", line 1, column 6: is not JSON: Expecting ':' delimiter\n"
         "-> correct that line"),
        ("f.json", '{"a": 1, "a": 2}', ": is not usable JSON: key 'a' is given twice\n"
         "-> correct the file"),
        ("f.yaml", 'a: ["x", {b: "\\udce9"}]', ": \\udce9 is not a character\n"
         "-> write the character itself, in UTF-8"),
        ("f.json", '{"\\ud83d": 1}', ": \\ud83d is not a character\n"
         "-> write the character itself, in UTF-8"),
    ],
)  # fmt: skip
def test_broken_text(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(Trouble) as caught:
        load(tmp_path, text, name)
    assert str(caught.value) == f"{tmp_path}/{name}{message}"


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(Trouble) as caught:
        load_yaml(path)
    assert str(caught.value) == f"{path}: is not UTF-8 text (byte 3)\n-> save it as UTF-8"
