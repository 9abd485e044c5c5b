"""Numbers that JSON has no form for, in what is written and in what is read."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest

from manifests.record.json_numbers import json_line, json_text, not_finite, not_finite_text, number

PROJECT = Path(__file__).resolve().parents[3]


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


VALUES = {"a": [math.nan, 1.5, {"b": (math.inf, -math.inf)}], "c": True, "d": None, "e": 3}


@pytest.mark.parametrize("write", [json_line, json_text])
def test_a_strict_reader_reads_all_that_is_written(write: Any) -> None:
    assert strict(write(VALUES)) == {
        "a": ["NaN", 1.5, {"b": ["Infinity", "-Infinity"]}],
        "c": True,
        "d": None,
        "e": 3,
    }


@pytest.mark.parametrize("text", ["NaN", '"NaN"'])
def test_both_forms_are_read(text: str) -> None:
    assert math.isnan(number(json.loads(text)))


@pytest.mark.parametrize("sign", ["", "-"])
def test_infinities_keep_their_sign(sign: str) -> None:
    assert number(json.loads(f"{sign}Infinity")) == number(f"{sign}Infinity") == float(f"{sign}inf")


@pytest.mark.parametrize("value", [True, "nan", "1", "", None, [], 10**400])
def test_anything_else_is_not_a_number(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        number(value)


def test_what_is_not_finite_is_named() -> None:
    numbers = {"b": math.nan, "a": -math.inf, "c": 1.0}
    assert not_finite(numbers) == ["a", "b"]
    assert not_finite_text(numbers) == "not finite: a is -Infinity, b is NaN"
    assert not_finite_text({"c": 1.0}) == ""


WRITERS = ("json.dumps", "json.dump")


def test_every_writer_of_json_says_what_becomes_of_them() -> None:
    """``allow_nan`` is true where Python writes what no other reader takes."""
    silent, allowed = [], []
    for folder in ("container", "jobtemplates", "manifests", "trainer"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in WRITERS:
                    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    where = path.relative_to(PROJECT).as_posix()
                    if given.get("allow_nan") is None:
                        silent.append(where)
                    elif given["allow_nan"] != "False":
                        allowed.append(where)
    assert silent == []
    assert allowed == ["manifests/rundir/records.py"]  # handed to pydantic, written nowhere
