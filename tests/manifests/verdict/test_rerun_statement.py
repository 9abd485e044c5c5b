"""Verdicts as statements: on a rerun, on slices judged together, on a sample of them."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import pytest

from manifests.record.outcome import Result
from manifests.record.schema import Emulated, Manifest
from manifests.rundir.statement import Statement, parse_verdict
from manifests.verdict.comparison import Comparison, SlicePart, SlicesClaim
from manifests.verdict.rerun_statement import JudgedRun, verdict_statements
from manifests.verdict.run_record import RunRecord


@pytest.fixture
def judged(
    manifest: Callable[..., Manifest], result: Callable[..., Result]
) -> Callable[..., JudgedRun]:
    def make(name: str, day: str = "2026-02-01", **circumstance: Any) -> JudgedRun:
        made = manifest()
        made = made.model_copy(
            update={"circumstance": made.circumstance.model_copy(update=circumstance)}
        )
        out = result(made, {"conv/W": "a"}, "t" * 64, b"model", 9)
        observed = out.observed.model_copy(update={"finished": f"{day}T00:00:00Z"})
        out = out.model_copy(update={"observed": observed})
        record = RunRecord(path=f"/runs/{name}", manifest=made, result=out)
        return JudgedRun(name, record, name[0] * 64, name[-1] * 64)

    return make


def claim(parts: List[SlicePart], **more: Any) -> Comparison:
    claims = SlicesClaim(steps=9, of=3, parts=parts, not_claimed=["much"], **more)
    return Comparison(
        verdict="identical",
        a="/runs/x1",
        b="/runs/x1-slices",
        evidence=["slice of 1..3: identical (/runs/x1-slices/a1)"],
        slices=claims,
    )


def said(run: JudgedRun, name: str, reruns: List[JudgedRun], found: Comparison) -> Dict[str, Any]:
    verdict, twin = verdict_statements(run, name, reruns, found)
    assert twin["subject"] == verdict["subject"]
    predicate: Dict[str, Any] = verdict["predicate"]
    return predicate


def test_slices_that_are_the_whole_run(judged: Callable[..., JudgedRun]) -> None:
    part = SlicePart(
        begin=0, end=3, verdict="identical", run=None, bound=True, ends_on_a_state=True
    )
    emulated = Emulated(model="Haswell", program="/usr/bin/qemu-x86_64-static", version="7.2")
    slices = [judged("a1"), judged("b2", "2026-02-03", emulated=emulated, host="far")]
    predicate = said(judged("x1"), "x1-slices", slices, claim([part]))
    assert predicate["steps"] == {
        "first": 1, "last": 9, "of": 9, "slices": 3, "notClaimed": ["much"],
    }  # fmt: skip
    assert predicate["day"] == "2026-02-03"
    assert predicate["evidence"] == ["slice of 1..3: identical (x1-slices/a1)"]
    assert [item["name"] for item in predicate["rerun"]["records"]] == [
        "a1/manifest.json", "a1/result.json", "b2/manifest.json", "b2/result.json",
    ]  # fmt: skip
    assert predicate["machine"] == {
        "hosts": ["far", "node1"], "processor": "Some CPU", "emulated": ["Haswell by QEMU 7.2"],
    }  # fmt: skip
    steps = parsed(predicate).steps
    assert (steps.whole, steps.part) == (True, "")


def test_a_sample_of_slices_is_not_the_run(judged: Callable[..., JudgedRun]) -> None:
    part = SlicePart(
        begin=3, end=6, verdict="identical", run=None, bound=True, ends_on_a_state=True
    )
    predicate = said(judged("x1"), "x1-slices", [judged("a1")], claim([part], seed="z"))
    assert predicate["steps"] == {
        "of": 9, "slices": 3, "drawn": 1, "seed": "z", "notClaimed": ["much"],
    }  # fmt: skip
    steps = parsed(predicate).steps
    assert (steps.whole, steps.part) == (False, "1 of 3 slices, drawn at random")


def test_a_rerun_that_could_not_run_compared_nothing(judged: Callable[..., JudgedRun]) -> None:
    found = Comparison(verdict="cannot-run", a="/runs/x1", b="/runs/a1", evidence=["/runs/a1: no"])
    predicate = said(judged("x1"), "a1", [judged("a1")], found)
    assert (predicate["steps"], predicate["evidence"]) == ({"of": 9}, ["a1: no"])
    assert not parsed(predicate).steps.whole


def parsed(predicate: Dict[str, Any]) -> Any:
    return parse_verdict(
        Statement(type="x", subject=[{"name": "m"}], predicate_type="y", predicate=predicate)  # type: ignore[arg-type]
    )
