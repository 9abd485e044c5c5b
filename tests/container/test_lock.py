import json
from typing import Any, Callable, Dict

import pytest

from container.digest import sha256_of_bytes
from container.lock import Lock, lock_text, parse_lock
from container.trouble import Trouble
from manifests.record.canonical_json import canonical_json

REWRITE = "restore it from version control, or write it anew with `bundle.py lock`"


def signed(content: Dict[str, Any]) -> str:
    content.pop("digest", None)
    return json.dumps({**content, "digest": sha256_of_bytes(canonical_json(content))})


def trouble_of(text: str) -> Trouble:
    with pytest.raises(Trouble) as caught:
        parse_lock(text, "locks/tiny.json")
    return caught.value


def test_text_and_value_round_trip(small_lock: Lock) -> None:
    text = lock_text(small_lock)
    assert parse_lock(text, "x") == small_lock
    assert lock_text(parse_lock(text, "x")) == text


def test_a_licence_is_written_where_there_is_one(small_lock: Lock) -> None:
    """A lock without is as it was before there were any."""
    assert "licence" not in lock_text(small_lock)
    licensed = [file.model_copy(update={"licence": "MIT"}) for file in small_lock.python.files]
    python = small_lock.python.model_copy(update={"files": licensed})
    lock = small_lock.model_copy(update={"python": python})
    assert lock_text(lock).count('"licence": "MIT"') == 1
    assert parse_lock(lock_text(lock), "x") == lock


def test_the_project_lock_is_canonical_and_names_no_host(project: Any) -> None:
    for path in (project / "container/locks").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert lock_text(parse_lock(text, str(path))) == text
        assert "://" not in text


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content["debian"]["files"][0].update(size=8),
        lambda content: content["environment"].update(LC_ALL="C"),
        lambda content: content["probes"].clear(),
    ],
)
def test_an_edit_by_hand_is_refused(
    small_lock: Lock, edit: Callable[[Dict[str, Any]], None]
) -> None:
    content = json.loads(lock_text(small_lock))
    edit(content)
    unsigned = {key: value for key, value in content.items() if key != "digest"}
    trouble = trouble_of(json.dumps(content))
    assert str(trouble) == (
        "locks/tiny.json: was altered since it was written: its digest says "
        f"{content['digest']}, its content has {sha256_of_bytes(canonical_json(unsigned))}\n"
        f"-> {REWRITE}"
    )


def test_every_fault_comes_with_its_key_path(small_lock: Lock) -> None:
    content = json.loads(lock_text(small_lock))
    content["debian"]["files"][0]["sha256"] = "abc"
    content["debian"]["files"][0]["file"] = "../../etc/passwd"
    content["python"]["files"][0]["size"] = -1
    content["drop"] = ["/etc"]
    content["environment"] = {"A": "it's"}
    content["colour"] = "red"
    del content["stack"]
    assert trouble_of(signed(content)).problems == [
        "locks/tiny.json: stack: is missing",
        "locks/tiny.json: debian.files[0].file: found '../../etc/passwd', expected text of the "
        "form ^[A-Za-z0-9][A-Za-z0-9_.+~:!-]*(/[A-Za-z0-9][^/\\s]*)*$",
        "locks/tiny.json: debian.files[0].sha256: found 'abc', expected text of the form "
        "^[0-9a-f]{64}$",
        "locks/tiny.json: python.files[0].size: found -1, expected a number >= 0",
        "locks/tiny.json: environment.A: found \"it's\", expected text of the form ^[^'\\n]*$",
        "locks/tiny.json: drop[0]: found '/etc', expected text of the form "
        "^[A-Za-z0-9_.*+-]+(/[A-Za-z0-9_.*+-]+)+$",
        "locks/tiny.json: colour: is not a known key",
    ]


def test_a_newer_major_format_is_an_error(small_lock: Lock) -> None:
    content = json.loads(lock_text(small_lock))
    content["format"] = "2.0"
    assert str(trouble_of(signed(content))) == (
        "locks/tiny.json: format: is 2.0, this bundle reads 1.x\n"
        "-> use the version of bundle that wrote it"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "locks/tiny.json: is not JSON: Expecting property name enclosed in double quotes: "
              "line 1 column 2 (char 1)"),
        ("[]", "locks/tiny.json: is not a lock: expected a JSON object"),
        ("{}", "locks/tiny.json: format: expected a version such as '1.0'"),
        ('{"format": "1.0"}', "locks/tiny.json: digest: is missing"),
    ],
)  # fmt: skip
def test_what_is_no_lock_is_refused(text: str, problem: str) -> None:
    assert str(trouble_of(text)) == f"{problem}\n-> {REWRITE}"
