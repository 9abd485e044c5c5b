"""A step that is traced: the bits it has without, each rank's work in order, on any processes."""

from __future__ import annotations

import json
from typing import Any, Dict, List

import pytest

from manifests.record.step_trace import PHASES, RankTrace, TraceEntry, added_text, read_rank_trace
from tests.trainer.conftest import Case, case_maker

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

#: 10 samples, 3 ranks of 2: 2 steps.
RANKS, STEP = 3, 2
CHANGES: Dict[str, Any] = {"epochs": 1, "optimizer": {"name": "adam", "lr": 0.001}}


def made(make: Any, name: str, processes: int = RANKS, **circumstance: Any) -> Case:
    case: Case = make(name, observing={"trail_interval": 1}, **CHANGES)
    case.manifest["identity"]["world"]["ranks"] = RANKS
    case.manifest["circumstance"]["placement"]["processes"] = processes
    case.manifest["circumstance"].update(circumstance)
    case.seal()
    done = case.launch(processes)
    assert done.returncode == 0, done.stderr
    return case


def traces_of(case: Case) -> List[RankTrace]:
    return [read_rank_trace(case.files.trace_of(rank)) for rank in range(RANKS)]


def of_phase(trace: RankTrace, phase: str) -> List[TraceEntry]:
    return [entry for entry in trace.entries if entry.phase == phase]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Case:
    part = {"begin": 0, "after": STEP - 1, "end": STEP}
    make = case_maker(tmp_path_factory.mktemp("traced"))
    return made(make, "traced", slice=part, trace=STEP)


def trail_of(case: Case, rank: int) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in case.files.trail_of(rank).read_text().splitlines()]


def test_the_bits_are_those_of_a_step_that_is_not_traced(traced: Case, make_case: Any) -> None:
    whole = made(make_case, "whole", processes=1)
    assert not whole.files.trace.exists()
    for rank in range(RANKS):
        assert whole.files.trail_of(rank).read_bytes() == traced.files.trail_of(rank).read_bytes()


def test_the_trace_holds_what_the_trail_has_and_the_layers(traced: Case) -> None:
    found = traces_of(traced)
    for rank, trace in enumerate(found):
        assert (trace.head.rank, trace.head.step) == (rank, STEP)
        order = [PHASES.index(entry.phase) for entry in trace.entries]
        # The loss is known at the end of a rank's work.
        late = [at for at, entry in zip(order, trace.entries) if entry.phase != "loss"]
        assert late == sorted(late)
        record = trail_of(traced, rank)[-1]
        assert of_phase(trace, "loss")[0].digest == record["loss"]
        assert len(of_phase(trace, "batch")[0].samples or []) == 2
        forward = [(entry.layer, entry.tensor) for entry in of_phase(trace, "forward")]
        assert forward[:4] == [
            ("", "input"),
            ("/block1", "input"),
            ("/block1/conv", "input"),
            ("/block1/conv", "output"),
        ]
        assert forward[-1] == ("", "output")
        backward = [(entry.layer, entry.tensor) for entry in of_phase(trace, "backward")]
        own, gradient = "Convolution2DFunction", "gradient of the output of"
        assert [place for place in backward if place[0] in ("/block1", "/block1/mlp2")] == [
            ("/block1", f"{gradient} MaxPooling2DFunction after it"),
            ("/block1/mlp2", f"{gradient} {own}"),
        ]
        assert backward[-1] == ("/block1/conv", f"{gradient} {own}")
        assert ("/block3", f"{gradient} Dropout after it") in backward
        gradients = [entry.layer for entry in of_phase(trace, "gradients")]
        assert gradients[0] == "/block4/mlp2"
        assert gradients[-1] == "/block1/conv"
    record = trail_of(traced, 0)[-1]
    for phase, recorded in (("reduced", "gradients"), ("after", "parameters")):
        for trace in found:
            entries = of_phase(trace, phase)
            assert {f"{e.layer}/{e.tensor}": e.digest for e in entries} == record[recorded]


def test_the_order_of_the_sum_is_one_of_those_tried(traced: Case) -> None:
    """Three ranks in pairs and three in a row are the same order, which is that of the run."""
    trace = traces_of(traced)[0]
    reduced = {f"{e.layer}/{e.tensor}": e.digest for e in of_phase(trace, "reduced")}
    for block in (1, 3):
        text = f", {added_text(block)}"
        tried = [entry for entry in of_phase(trace, "orders") if entry.tensor.endswith(text)]
        assert {f"{e.layer}/{e.tensor[: -len(text)]}": e.digest for e in tried} == reduced
    assert [of_phase(other, "orders") for other in traces_of(traced)[1:]] == [[], []]


def test_one_process_that_computes_all_ranks_has_the_same_trace(
    traced: Case, make_case: Any
) -> None:
    part = {"begin": 0, "after": 0, "end": STEP}
    hosted = made(make_case, "hosted", processes=1, slice=part, trace=STEP)
    assert [trace.entries for trace in traces_of(hosted)] == [
        trace.entries for trace in traces_of(traced)
    ]
