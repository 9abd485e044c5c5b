"""Each kind of difference, one at a time: the verdict, the step, the rank and the tensor."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List

import pytest

from manifests.record.canonical_json import digest_of
from manifests.record.outcome import TrailRecord
from manifests.verdict.compare import (
    Comparison,
    RunRecord,
    cannot_run,
    compare,
    exit_code,
    lines,
)
from manifests.verdict.comparison import StepItem
from manifests.verdict.trail_difference import trail_difference

Edit = Callable[[Dict[str, Any]], None]


@pytest.fixture
def run(manifest: Any, result: Any, trail: Any) -> Callable[..., RunRecord]:
    """A complete run in memory; each argument edits one of its records as plain JSON."""

    def make(
        path: str = "a",
        *,
        steps: int = 12,
        interval: int = 5,
        in_trail: Any = lambda ranks: None,
        in_manifest: Edit = lambda raw: None,
        in_result: Edit = lambda raw: None,
        **changes: Any,
    ) -> RunRecord:
        made = manifest()
        records = trail(2, steps, interval)
        tensors = records[0][-1].parameters
        outcome = result(made, tensors, "0" * 64, b"model", steps)
        raw_trail = [[record.model_dump() for record in rank] for rank in records]
        in_trail(raw_trail)
        raw_manifest, raw_result = made.model_dump(mode="json"), outcome.model_dump(mode="json")
        in_manifest(raw_manifest)
        in_result(raw_result)
        record_type = type(records[0][0])
        values = {
            "path": path,
            "manifest": type(made).model_validate(raw_manifest),
            "result": type(outcome).model_validate(raw_result),
            "trail": [[record_type(**item) for item in rank] for rank in raw_trail],
            "done": True,
            "model": f"{path}/results/model.npz",
            **changes,
        }
        return RunRecord(**values)

    return make


def evidence(comparison: Comparison) -> List[str]:
    return comparison.evidence


def test_identical(run: Any) -> None:
    a, b = run("a"), run("b")
    found = compare(a, b)
    assert found.verdict == "identical"
    assert exit_code(found.verdict) == 0
    assert found.first_difference is None
    assert (found.last_equal_step, found.last_equal_parameters) == (12, 12)
    assert found.suspects == found.circumstances == []
    assert lines(found) == [
        "verdict: identical",
        "  a: a",
        "  b: b",
        "  - samples and losses of 12 steps on 2 ranks are equal, and so are the tensor digests "
        "of 4 steps",
        f"  - final parameters of both: {a.result.digests.parameters[:12]}",
        f"  - results/model.npz of both: {a.result.digests.model[:12]}",
    ]
    assert lines(found, full=True)[-1] == (
        f"  - results/model.npz of both: {a.result.digests.model}"
    )


def set_item(rank: int, index: int, key: str, value: Any) -> Callable[[Any], None]:
    def edit(ranks: Any) -> None:
        ranks[rank][index][key] = value

    return edit


def set_tensor(index: int, kind: str, name: str) -> Callable[[Any], None]:
    def edit(ranks: Any) -> None:
        ranks[0][index][kind][name] = "f" * 64

    return edit


@pytest.mark.parametrize(
    ("edit", "step", "rank", "what", "tensors", "last_equal", "last_parameters"),
    [
        # rank 0 has a record of step 0, rank 1 begins at step 1
        (set_item(0, 3, "samples", "x"), 3, 0, "samples", [], 2, 0),
        (set_item(1, 0, "samples", "x"), 1, 1, "samples", [], 0, 0),
        (set_item(0, 7, "loss", "0x1.0p+0"), 7, 0, "loss", [], 6, 5),
        (set_item(1, 11, "loss", "0x1.0p+0"), 12, 1, "loss", [], 11, 10),
        (set_tensor(5, "gradients", "conv/b"), 5, 0, "gradients", ["conv/b"], 4, 0),
        (set_tensor(10, "parameters", "conv/W"), 10, 0, "parameters", ["conv/W"], 9, 5),
        (set_tensor(0, "parameters", "conv/W"), 0, 0, "parameters", ["conv/W"], None, None),
        (set_tensor(5, "parameters", "new"), 5, 0, "parameters", ["new"], 4, 0),
    ],
)
def test_first_difference_is_named(
    run: Any,
    edit: Any,
    step: int,
    rank: int,
    what: str,
    tensors: List[str],
    last_equal: int,
    last_parameters: int,
) -> None:
    for a, b in ((run(), run(in_trail=edit)), (run(in_trail=edit), run())):
        found = compare(a, b)
        assert found.verdict == "diverged"
        assert exit_code(found.verdict) == 1
        assert found.first_difference is not None
        assert found.first_difference.step == step
        (item,) = found.first_difference.items
        assert (item.rank, item.what, item.tensors) == (rank, what, tensors)
        assert (found.last_equal_step, found.last_equal_parameters) == (last_equal, last_parameters)
        assert found.evidence[0].startswith(f"first difference at step {step}, rank {rank}: {what}")


def test_all_that_differs_in_the_first_step(run: Any) -> None:
    def edit(ranks: Any) -> None:
        ranks[0][5]["loss"] = (3.0).hex()
        ranks[0][5]["gradients"] = {"conv/W": "x", "conv/b": "y"}
        ranks[1][4]["loss"] = (4.0).hex()
        ranks[1][7]["loss"] = (5.0).hex()

    found = compare(run(), run("b", in_trail=edit))
    assert found.first_difference is not None
    assert [(item.rank, item.what) for item in found.first_difference.items] == [
        (0, "loss"), (0, "gradients"), (1, "loss"),
    ]  # fmt: skip
    assert evidence(found)[:4] == [
        "first difference at step 5, rank 0: loss 0.4 (0x1.999999999999ap-2) | "
        "3 (0x1.8000000000000p+1)",
        "first difference at step 5, rank 0: gradients conv/W, conv/b",
        "first difference at step 5, rank 1: loss 1.4 (0x1.6666666666666p+0) | "
        "4 (0x1.0000000000000p+2)",
        "last step known to be equal: 4",
    ]
    assert "last step with parameters known to be equal: 0" in evidence(found)


def test_missing_record_inside_the_trail(run: Any) -> None:
    found = compare(run(), run(in_trail=lambda ranks: ranks[1].pop(3)))
    assert found.verdict == "diverged"
    assert found.first_difference is not None
    assert found.first_difference.items == [
        StepItem(rank=1, what="record", a="present", b="missing")
    ]


def test_trails_of_different_intervals(run: Any) -> None:
    assert compare(run(interval=5), run(interval=3)).verdict == "identical"
    # step 10 is digested by the first only: the loss of step 11 is the first that both can tell
    edited = run(interval=5, in_trail=set_tensor(10, "gradients", "conv/W"))
    assert compare(edited, run(interval=3)).verdict == "identical"
    edited = run(interval=5, in_trail=set_tensor(10, "gradients", "conv/W"))
    found = compare(edited, run(interval=2))
    assert found.first_difference is not None
    assert (found.first_difference.step, found.last_equal_parameters) == (10, 0)


def test_another_number_of_steps(run: Any) -> None:
    found = compare(run(steps=15, interval=5), run(steps=10, interval=5))
    assert found.verdict == "diverged"
    assert evidence(found)[0] == "the last step is 15 | 10"
    assert "steps 15 | 10" in evidence(found)


def drop_result(raw: Dict[str, Any]) -> None:
    raw["digests"]["tensors"]["conv/W"] = "f" * 64
    raw["digests"]["parameters"] = digest_of(raw["digests"]["tensors"])


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (drop_result, "1 of 2 final tensors differ: conv/W"),
        (lambda raw: raw["digests"].update(model="0" * 64), f"| {'0' * 64}"),
        (lambda raw: raw["metrics"].update({"main/loss": 0.25}), "main/loss 0.5 | 0.25"),
        (lambda raw: raw["metrics"].pop("main/loss"), "main/loss 0.5 | absent"),
    ],
)
def test_results_that_differ(run: Any, edit: Edit, sentence: str) -> None:
    found = compare(run(), run(in_result=edit))
    assert found.verdict == "diverged"
    assert any(text.endswith(sentence) for text in evidence(found))


def test_elapsed_time_may_differ(run: Any) -> None:
    def slower(raw: Dict[str, Any]) -> None:
        raw["metrics"].update({"elapsed_time": 99.0, "images/s": 1.0})
        raw["observed"]["seconds"] = 99.0

    assert compare(run(), run(in_result=slower)).verdict == "identical"


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"done": False}, ["b: the run is not complete (no DONE)"]),
        ({"result": None}, ["b: there is no result.json"]),
        ({"trail": None, "faults": ["t: does not exist"]},
         ["b: there is no whole trail", "t: does not exist"]),
    ],
)  # fmt: skip
def test_what_is_missing_is_inconclusive(
    run: Any, changes: Dict[str, Any], reasons: List[str]
) -> None:
    found = compare(run("a"), run("b", **changes))
    assert found.verdict == "inconclusive"
    assert exit_code(found.verdict) == 3
    assert evidence(found)[-len(reasons) :] == reasons


def test_an_interrupted_run_that_parted_before_has_diverged(run: Any) -> None:
    broken = run("b", result=None, done=False, in_trail=set_item(0, 3, "samples", "x"))
    assert compare(run("a"), broken).verdict == "diverged"


def test_other_conditions_than_promised(run: Any) -> None:
    def other_cpu(raw: Dict[str, Any]) -> None:
        drop_result(raw)
        raw["observed"]["cpu_features"] = ["sse2"]

    def other_knob(raw: Dict[str, Any]) -> None:
        drop_result(raw)
        raw["observed"]["environment"] = {}

    found = compare(run("a"), run("b", in_result=other_cpu))
    assert found.verdict == "inconclusive"
    assert evidence(found)[-1] == (
        "b: the promise requires the CPU features avx2; Some CPU lacks them"
    )
    found = compare(run("a"), run("b", in_result=other_knob))
    assert found.verdict == "inconclusive"
    assert evidence(found)[-1] == (
        "b: OPENBLAS_CORETYPE was not set, the manifest asks for Haswell"
    )


def test_same_bits_are_identical_under_any_condition(run: Any) -> None:
    found = compare(
        run("a"), run("b", in_result=lambda raw: raw["observed"].update(cpu_features=["sse2"]))
    )
    assert found.verdict == "identical"
    assert evidence(found)[-1].startswith("b: the promise requires the CPU features avx2")


def test_suspects_and_circumstances(run: Any) -> None:
    def edit(raw: Dict[str, Any]) -> None:
        raw["identity"]["training"]["seed"] = 7
        raw["identity"]["code"]["files"]["train.py"]["sha256"] = "9" * 64
        raw["identity"]["code"]["files"]["new.py"] = {
            "sha256": "8" * 64, "size": 1, "executable": True,
        }  # fmt: skip
        raw["circumstance"]["host"] = "node2"

    found = compare(run(), run("b", in_manifest=edit, in_trail=set_item(0, 1, "samples", "x")))
    assert [(item.path, item.a, item.b) for item in found.suspects] == [
        ("training.seed", 0, 7),
        ("code.files.train.py", "3" * 64, "9" * 64),
        ("code.files.new.py", None, "8" * 64 + " x"),
    ]
    assert [(item.path, item.a, item.b) for item in found.circumstances] == [
        ("host", "node1", "node2")
    ]
    assert lines(found, full=True)[-6:] == [
        "inputs that differ (a | b):",
        "  training.seed: 0 | 7",
        f"  code.files.train.py: {'3' * 64} | {'9' * 64}",
        f"  code.files.new.py: absent | {'8' * 64} x",
        "metadata that differs (a | b):",
        "  host: node1 | node2",
    ]


def test_cannot_run() -> None:
    found = cannot_run("a", ["code/x.py: was altered"])
    assert exit_code(found.verdict) == 2
    assert lines(found) == ["verdict: cannot-run", "  a: a", "  - code/x.py: was altered"]
    found = cannot_run("a", ["code/x.py: was altered"], "restore it")
    assert found.next_step == "restore it"
    assert lines(found) == [
        "verdict: cannot-run", "  a: a", "  - code/x.py: was altered", "-> restore it",
    ]  # fmt: skip


def test_json_round_trip(run: Any) -> None:
    found = compare(run(), run(in_trail=set_tensor(5, "gradients", "conv/b")))
    assert Comparison.model_validate(json.loads(found.model_dump_json())) == found


def test_a_rank_that_wrote_a_step_more_than_another_before_both_were_killed() -> None:
    def trail(*ends: int) -> list[list[TrailRecord]]:
        return [[TrailRecord(step=k, loss="0x1p+0") for k in range(1, end + 1)] for end in ends]

    finding = trail_difference(trail(5, 4), trail(9, 9))
    assert (finding.first, finding.last_equal, finding.steps) == (None, 4, 4)
    gap = trail(9, 9)
    del gap[1][3]
    found = trail_difference(gap, trail(9, 9)).first
    assert found is not None
    assert (found.step, found.items[0].what) == (4, "record")
