"""The state of every step of two runs: read from files, the same finding as from records."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from container.trouble import Trouble
from manifests.record.outcome import TrailRecord
from manifests.verdict.step_states import DIFFERENT, EQUAL, NOT_COMPARED, compare_steps
from manifests.verdict.trail_difference import trail_difference

RESTORE = "restore the file from a copy of the run directory"
Trail = List[List[TrailRecord]]


def write(folder: Path, trail: Trail, rest: str = "", **form: Any) -> List[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for rank, records in enumerate(trail):
        values = [record.model_dump(mode="json", exclude_none=True) for record in records]
        text = "".join(json.dumps(value, **form) + "\n" for value in values)
        paths.append(folder / f"rank-{rank:05d}.jsonl")
        paths[-1].write_text(text + rest)
    return paths


def test_equal_trails(tmp_path: Path, trail: Callable[..., Trail]) -> None:
    a, b = (write(tmp_path / name, trail(steps=12)) for name in "ab")
    found = compare_steps(a, b)
    assert list(found.states) == [EQUAL] * 13
    assert found.finding == trail_difference(trail(steps=12), trail(steps=12))


def test_a_step_that_differs_and_a_tail_that_only_one_run_has(
    tmp_path: Path, trail: Callable[..., Trail]
) -> None:
    one, other = trail(steps=12), trail(steps=9)
    other[1][6] = other[1][6].model_copy(update={"loss": (0.5).hex()})  # rank 1 begins with step 1
    a, b = write(tmp_path / "a", one), write(tmp_path / "b", other, rest='{"step": 10, "lo')
    found = compare_steps(a, b)
    assert list(found.states) == [EQUAL] * 7 + [DIFFERENT] + [EQUAL] * 2 + [NOT_COMPARED] * 3
    assert found.finding == trail_difference(one, other)
    assert found.finding.first is not None
    assert (found.finding.first.step, found.finding.first.items[0].rank) == (7, 1)


def test_another_form_of_the_same_lines_is_equal(
    tmp_path: Path, trail: Callable[..., Trail]
) -> None:
    """As another version of the trainer may write them; tensor digests of other steps too."""
    one, other = trail(steps=12, interval=5), trail(steps=12, interval=4)
    a = write(tmp_path / "a", one, sort_keys=True, separators=(" , ", ":"))
    b = write(tmp_path / "b", other)
    found = compare_steps(a, b)
    assert list(found.states) == [EQUAL] * 13
    assert found.finding == trail_difference(one, other)
    assert found.finding.tensors == 2  # steps 0 and 12 have them in both


@pytest.mark.parametrize("seed", range(40))
def test_any_trails_give_the_finding_of_their_records(
    tmp_path: Path, trail: Callable[..., Trail], seed: int
) -> None:
    dice = random.Random(seed)
    sides = []
    for _ in "ab":
        ranks = trail(ranks=dice.randint(1, 3), steps=dice.randint(0, 9), interval=3)
        for records in ranks:
            for place in range(len(records)):
                if dice.random() < 0.03:
                    records[place] = records[place].model_copy(update={"samples": "0" * 64})
            if dice.random() < 0.1 and records:
                del records[dice.randrange(len(records))]
        sides.append(ranks)
    a, b = (write(tmp_path / name, side) for name, side in zip("ab", sides))
    assert compare_steps(a, b).finding == trail_difference(*sides)
    first, last = dice.randint(0, 5), dice.randint(3, 12)
    narrow = [[[x for x in rank if first <= x.step <= last] for rank in side] for side in sides]
    found = compare_steps(a, b, window=(first, last))
    assert found.finding == trail_difference(*narrow)
    assert not any(found.states[:first] + found.states[last + 1 :])


def test_damaged_files(tmp_path: Path, trail: Callable[..., Trail]) -> None:
    a, b = (write(tmp_path / name, trail()) for name in "ab")
    cases: Dict[str, str] = {
        '{"step": 1, "loss": "zzz"}\n': f"{b[0]}, line 1: is not a trail record",
        "nonsense\n": f"{b[0]}, line 1: is not a trail record",
        '{"step": 2, "loss": "0x1p+1"}\n{"step": 2, "loss": "0x1p+1"}\n': (
            f"{b[0]}, line 2: step 2 follows step 2"
        ),
    }
    for text, problem in cases.items():
        b[0].write_text(text)
        with pytest.raises(Trouble) as caught:
            compare_steps(a, b)
        assert (caught.value.problems, caught.value.next_step) == ([problem], RESTORE)
    b[0].unlink()
    with pytest.raises(Trouble) as caught:
        compare_steps(a, b)
    assert caught.value.problems == [f"{b[0]}: does not exist"]
