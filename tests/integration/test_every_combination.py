"""`make matrix` itself: what is chosen, what is done again, what the table says."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from container import atomic
from tests.integration import every_combination as matrix
from tests.integration.every_combination import Combination, Outcome


def outcome(name: str, code: str = "c0de", verdict: str = "identical") -> Outcome:
    return Outcome(name, code, verdict, 3, "0123456789ab", 12.34)


def test_all_of_them_and_some() -> None:
    every = matrix.chosen([])
    assert len(every) == len({one.name for one in every}) == 5 * 4 * 6
    assert {one.communicator for one in every} == {
        "hierarchical", "two_dimensional", "single_node", "flat", "naive", "ordered",
    }  # fmt: skip
    assert [one.name for one in matrix.chosen(["nin/*/flat", "alex/adam/naive"])] == [
        "alex/adam/naive",
        "nin/momentum_sgd/flat",
        "nin/adam/flat",
        "nin/rmsprop_warmup/flat",
        "nin/rmsprop/flat",
    ]
    with pytest.raises(SystemExit) as caught:
        matrix.chosen(["nine/*", "x"])
    assert str(caught.value) == ("no combination is named like nine/* or x; one is nin/adam/flat")


def test_what_is_done_for_this_code_is_not_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "outcomes.jsonl"
    assert matrix.read_outcomes(kept, "c0de") == {}
    for known in (
        outcome("nin/adam/flat"),
        outcome("nin/adam/naive", verdict="submit ended with 2"),
        outcome("nin/adam/hierarchical", code="01d"),
    ):
        matrix.keep(kept, known)
    known_now = matrix.read_outcomes(kept, "c0de")
    assert sorted(known_now) == ["nin/adam/flat", "nin/adam/naive"]
    asked: List[str] = []

    def run(one: Combination) -> Outcome:
        asked.append(one.name)
        return outcome(one.name, verdict="identical" if len(asked) > 1 else "diverged")

    wanted = [one for one in matrix.combinations() if one.name in (
        "nin/adam/flat", "nin/adam/naive", "nin/adam/hierarchical",
    )]  # fmt: skip
    found = list(matrix.run_missing(wanted, known_now, run))
    assert asked == ["nin/adam/hierarchical", "nin/adam/naive"]
    assert [one.verdict for one in found] == ["diverged", "identical"]
    assert capsys.readouterr().out == (
        "1 of 2  nin/adam/hierarchical  diverged, 12.3 s\n"
        "2 of 2  nin/adam/naive  identical, 12.3 s\n"
    )


def test_the_last_outcome_counts(tmp_path: Path) -> None:
    kept = tmp_path / "outcomes.jsonl"
    matrix.keep(kept, outcome("nin/adam/flat", verdict="diverged"))
    matrix.keep(kept, outcome("nin/adam/flat"))
    assert matrix.read_outcomes(kept, "c0de")["nin/adam/flat"].verdict == "identical"
    kept.write_text("{\n")
    with pytest.raises(SystemExit, match="is damaged"):
        matrix.read_outcomes(kept, "c0de")


def test_the_document_says_what_was_not_run() -> None:
    text = matrix.document({"nin/adam/flat": outcome("nin/adam/flat")}, "c0de" * 16)
    assert "\n\n1 of 120 are identical; digest of the code: c0dec0dec0de.\n\n| arch |" in text
    assert "| nin | adam | flat | 3 | 0123456789ab | identical | 12.3 |\n" in text
    assert text.count("| not run |") == 119


def test_documents_and_tests_do_not_count_as_code(tmp_path: Path) -> None:
    for name in ("trainer/a.py", "docs/a.md", "tests/a.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1\n")
    digest = matrix.code_digest(tmp_path)
    (tmp_path / "docs" / "a.md").write_text("2\n")
    (tmp_path / "tests" / "a.py").write_text("2\n")
    assert matrix.code_digest(tmp_path) == digest
    (tmp_path / "trainer" / "a.py").write_text("2\n")
    assert matrix.code_digest(tmp_path) != digest


def test_lists_of_a_few_digits_leave_no_class_empty(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "mean.npy").touch()
    lines = [f"{number}.jpg {number // 5}\n" for number in range(40)]
    (data / "train.txt").write_text("".join(lines))
    (data / "val.txt").write_text("".join(lines))
    matrix.make_data(tmp_path)
    train = (tmp_path / "train.txt").read_text().splitlines()
    assert len(train) == len(set(train)) == 12
    assert {line.split()[1] for line in train} == set("01234567")
    assert len((tmp_path / "val.txt").read_text().splitlines()) == 2


def test_each_network_can_be_submitted(tmp_path: Path, image: str) -> None:
    del image
    matrix.make_data(tmp_path)
    for one in matrix.chosen(["*/adam/ordered"]):
        config = tmp_path / f"{one.arch}.json"
        atomic.write_json(config, matrix.config_of(one, tmp_path))
        done = matrix.bundle("submit", "--dry-run", config)
        assert done.returncode == 0, done.stderr
