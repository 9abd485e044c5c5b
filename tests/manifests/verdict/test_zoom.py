"""Runs of one step, made up: which of them, which record, which layer, tensor, rank and host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest

from manifests.config.recorded import with_identity
from manifests.record.outcome import RankPlace, TrailRecord
from manifests.record.step_trace import RankTrace, TraceEntry, TraceHead, added_text
from manifests.verdict.compare import RunRecord, compare
from manifests.verdict.comparison import Zoom
from manifests.verdict.comparison_text import lines
from manifests.verdict.trace_difference import first_difference
from manifests.verdict.zoom import Side, StepRun, conclude

STEP = 5
RANKS = 4
Change = Callable[[int, TraceEntry], Optional[str]]

#: The mean in each order of summation; that of the run is in pairs, as `naive` adds.
MEANS = {1: "mean in pairs", 2: "mean in twos", 4: "mean in a row"}


def entries(rank: int, mean: str) -> List[TraceEntry]:
    def entry(phase: Any, layer: str, tensor: str, digest: str = "", **more: Any) -> TraceEntry:
        whole = digest or f"{phase} {layer} {tensor} {rank}"
        return TraceEntry(phase=phase, layer=layer, tensor=tensor, digest=whole, **more)

    orders = [
        entry("orders", "/conv", f"W, {added_text(block)}", text) for block, text in MEANS.items()
    ]
    return [
        entry("before", "/conv", "W", "W"),
        entry("batch", "", "images", samples=[2 * rank, 2 * rank + 1]),
        entry("forward", "/conv", "input"),
        entry("forward", "/conv", "output"),
        entry("loss", "", "loss"),
        entry("backward", "/conv", "gradient of the output of Convolution"),
        entry("gradients", "/conv", "W"),
        *(orders if rank == 0 else []),
        entry("reduced", "/conv", "W", mean),
        entry("after", "/conv", "W", "W after"),
    ]


def traces(
    change: Change = lambda rank, entry: None, mean: str = MEANS[1], hosts: int = 2
) -> List[RankTrace]:
    found = []
    for rank in range(RANKS):
        head = TraceHead(step=STEP, rank=rank, host=f"node{rank % hosts}")
        changed = [
            entry.model_copy(update={"digest": change(rank, entry) or entry.digest})
            for entry in entries(rank, mean)
        ]
        found.append(RankTrace(head=head, entries=changed))
    return found


def trail(
    losses: Optional[Dict[int, str]] = None, mean: str = MEANS[1], first: int = 4
) -> List[Any]:
    """Of the steps after 3 up to :data:`STEP`; ``losses`` of its last step by rank."""
    return [
        [
            TrailRecord(
                step=step,
                samples=f"samples {rank}",
                loss=(losses or {}).get(rank, "0x1p+0") if step == STEP else "0x1p+0",
                gradients={"/conv/W": mean if step == STEP else "m"} if rank == 0 else None,
            )
            for step in range(4, STEP + 1)
        ]
        for rank in range(RANKS)
    ]


def step_run(path: str, found: Optional[List[RankTrace]] = None, **of_trail: Any) -> StepRun:
    return StepRun(path, 3, found or traces(), trail(**of_trail))


def at(rank: int, phase: str, tensor: str) -> Change:
    """Another digest there and in all that follows on the rank."""

    def change(of: int, entry: TraceEntry) -> Optional[str]:
        late = ["forward", "loss", "backward", "gradients"]
        if of != rank or entry.phase not in late:
            return None
        place = late.index(entry.phase) - late.index(phase)
        return (
            f"odd {entry.digest}" if place > 0 or (not place and entry.tensor == tensor) else None
        )

    return change


@pytest.fixture
def record(manifest: Any, result: Any) -> Callable[..., RunRecord]:
    def make(path: str, **of_trail: Any) -> RunRecord:
        made = manifest()
        outcome = result(made, {"/conv/W": "0" * 32}, "0" * 64, b"model", STEP)
        places = [RankPlace(rank=n, host=f"{path}{n % 2}", local_rank=0) for n in range(RANKS)]
        seen = outcome.observed.model_copy(update={"ranks": places})
        outcome = outcome.model_copy(update={"observed": seen})
        return RunRecord(path, made, outcome, trail(**of_trail), True)

    return make


ALIKE = (
    "step 5 was run twice on node0, node1 from the state after step 3, with the parts of a: alike "
    "in all 39 digests; this machine agrees with itself"
)


def place_of(found: Zoom) -> Optional[Tuple[Any, ...]]:
    return None if found.first is None else tuple(found.first.model_dump().values())


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (4, "; the parameters before it are alike"),
        (3, ", or parameters that were others before: the record has none since step 3"),
    ],
)
def test_whether_the_parameters_before_are_known(record: Any, known: int, text: str) -> None:
    a, b = record("a"), record("b", losses={1: "0x1.8p+0"})
    parameters = {"/conv/W": "W"}
    for one in (a, b):
        before = TrailRecord(step=3, samples="samples 0", loss="0x1p+0", parameters=parameters)
        if known == 3:
            one.trail[0].insert(0, before)
        else:
            one.trail[0][0] = one.trail[0][0].model_copy(update={"parameters": parameters})
    found = conclude(STEP, a, b, [Side("a", [step_run("x"), step_run("y")])])
    assert found.sentences[2].endswith(f"a forward pass, of which the record has no layers{text}")


def test_the_rerun_went_wrong_in_a_forward_pass(record: Any) -> None:
    a, b = record("a"), record("b", losses={1: "0x1.8p+0"})
    found = conclude(STEP, a, b, [Side("a", [step_run("x"), step_run("y")])])
    assert (found.step, found.begin, found.runs, found.alike) == (5, 3, ["x", "y"], True)
    assert place_of(found) == ("loss", "", "loss", [1], ["b1"])
    assert found.sentences == [
        ALIKE,
        "a recorded the same losses and digests",
        "b recorded other ones: first at step 5, the loss of rank 1 on b1; the losses of the other "
        "ranks are alike: a forward pass, of which the record has no layers, or parameters that "
        "were others before: the record has none since the first step",
        "a and this machine agree, b does not: the error was in b, or in what its machine did "
        "otherwise",
    ]
    shown = lines(compare(a, b).model_copy(update={"zoom": found}))
    begin = shown.index("zoom into step 5:")
    assert shown[begin + 1] == f"  - {ALIKE}"
    assert shown[begin + 5 : begin + 7] == ["  run: x", "  run: y"]


def test_the_record_has_another_order_of_the_sum(record: Any) -> None:
    a, b = record("a", mean=MEANS[4]), record("b")
    found = conclude(STEP, a, b, [Side("a", [step_run("x"), step_run("y")])])
    assert found.sentences[1:] == [
        "a recorded other ones: first at step 5, the mean gradient /conv/W; all losses are alike: "
        "the same gradients added in another order: ranks in pairs, pairs in pairs, and so on "
        "here, one rank after another there",
        "b recorded the same losses and digests",
        "b and this machine agree, a does not: the error was in a, or in what its machine did "
        "otherwise",
    ]


def test_a_mean_of_no_known_order(record: Any) -> None:
    a, b = record("a"), record("b", mean="another")
    found = conclude(STEP, a, b, [Side("a", [step_run("x"), step_run("y")])])
    assert place_of(found) == ("reduced", "/conv", "W", [], [])
    assert found.sentences[2] == (
        "b recorded other ones: first at step 5, the mean gradient /conv/W; all losses are alike: "
        "no order of summation that is known here gives it, so a rank's backward pass or the sum "
        "went wrong"
    )


def test_neither_record(record: Any) -> None:
    a, b = record("a", losses={0: "0x1.1p+0"}), record("b", losses={0: "0x1.2p+0"})
    found = conclude(STEP, a, b, [Side("a", [step_run("x"), step_run("y")])])
    assert found.sentences[-1] == "this machine agrees with neither of the two"


def test_an_old_record_is_compared_where_it_has_digests(record: Any) -> None:
    a, b = record("a"), record("b", losses={1: "0x1.8p+0"})
    for rank in a.trail:
        rank[:] = [one.model_copy(update={"gradients": None}) for one in rank]
    found = conclude(STEP, a, b, [Side("a", [step_run("x"), step_run("y")])])
    assert found.sentences[1] == "a recorded the same losses and digests"


@pytest.mark.parametrize(
    ("third", "text"),
    [
        (
            traces(),
            "a third run is alike to run 1, so run 2 went wrong: rank 3 on node1 computed that "
            "tensor wrongly once; look at the memory and the processor (or GPU) there",
        ),
        (
            traces(at(3, "forward", "output")),
            "a third run is alike to run 2, so run 1 went wrong: rank 3 on node1 computed that "
            "tensor wrongly once; look at the memory and the processor (or GPU) there",
        ),
        (
            traces(lambda rank, entry: "third" if entry.phase == "forward" else None),
            "a third run is unlike both: what is computed there is no function of the state, the "
            "batch and the seed: on rank 3 on node1 the code draws without a seed or reads memory, "
            "a clock or a file that changes, or the machine errs every time",
        ),
    ],
)
def test_this_machine_does_not_agree_with_itself(
    record: Any, third: List[RankTrace], text: str
) -> None:
    odd = step_run("y", traces(at(3, "forward", "output")))
    side = Side("a", [step_run("x"), odd, step_run("z", third)])
    assert not side.alike
    found = conclude(STEP, record("a"), record("b"), [side])
    assert (found.alike, found.runs) == (False, ["x", "y", "z"])
    assert found.first is not None
    assert found.first.model_dump() == {
        "phase": "forward", "layer": "/conv", "tensor": "output", "ranks": [3], "hosts": ["node1"],
    }  # fmt: skip
    assert found.sentences == [
        "step 5 was run twice on node0, node1 from the state after step 3, with the parts of a: "
        "this machine does not agree with itself: the two differ first in the forward pass, output "
        "of /conv, rank 3 on node1",
        text,
    ]


def two_sides(of_b: List[RankTrace], **of_trail: Any) -> List[Side]:
    return [
        Side("a", [step_run("x"), step_run("y")]),
        Side("b", [step_run("v", of_b, **of_trail), step_run("w", of_b, **of_trail)]),
    ]


def test_other_parts_differ_first_in_a_layer(record: Any) -> None:
    def change(rank: int, entry: TraceEntry) -> Optional[str]:
        return at(1, "forward", "output")(rank, entry) or at(2, "backward", "")(rank, entry)

    losses = {1: "0x1.8p+0"}
    found = conclude(
        STEP, record("a"), record("b", losses=losses), two_sides(traces(change), losses=losses)
    )
    assert found.sentences == [
        ALIKE,
        ALIKE.replace("parts of a", "parts of b"),
        "a recorded the same losses and digests",
        "b recorded the same losses and digests",
        "with the parts of a and of b the step differs first in the forward pass, output of /conv, "
        "rank 1 on node1",
    ]


def test_other_parts_add_in_another_order(record: Any) -> None:
    sides = two_sides(traces(mean=MEANS[2]), mean=MEANS[2])
    found = conclude(STEP, record("a"), record("b", mean=MEANS[2]), sides)
    assert found.sentences[-1] == (
        "with the parts of a and of b the step differs first in the mean gradient of all ranks, W "
        "of /conv, ranks 0, 1, 2, 3 on node0, node1; each rank's own gradients are alike: the same "
        "gradients added in another order: ranks in pairs, pairs in pairs, and so on in a, blocks "
        "of 2 ranks one after another, then the blocks in pairs in b"
    )
    assert found.first is not None
    assert (found.first.phase, found.first.ranks) == ("reduced", [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("changed", "texts"),
    [
        (
            {3: "a/3.jpg"},
            ["rank 1: images of its batch that are not those of a: sample 3 (a/3.jpg)"],
        ),
        ({9: "a/9.jpg"}, ["the batch has the same images in a and in b"]),
    ],
)
def test_other_images(record: Any, changed: Dict[int, str], texts: List[str]) -> None:
    why_not = "inputs/train.tsv, line 4: a/3.jpg was altered"
    sides = [Side("a", [], why_not), two_sides(traces())[1]]
    a = record("a", losses={1: "0x1.8p+0"})
    b = record("b")
    b = replace(b, manifest=with_identity(b.manifest, world={"ranks": 4, "nodes": 2}))
    found = conclude(STEP, a, b, sides, changed)
    assert found.sentences == [
        f"step 5 with the parts of a cannot be run here: {why_not}",
        ALIKE.replace("parts of a", "parts of b"),
        "a recorded other ones: first at step 5, the loss of rank 1 on a1; the losses of the other "
        "ranks are alike: a forward pass, of which the record has no layers, or parameters that "
        "were others before: the record has none since the first step",
        "b recorded the same losses and digests",
        *texts,
    ]
    place = ("batch", "", "images", [1], ["node1"])
    assert place_of(found) == (place if len(changed) == 1 and 3 in changed else None)


def test_parts_that_make_no_difference_in_the_step(record: Any) -> None:
    found = conclude(STEP, record("a"), record("b"), two_sides(traces()), {})
    assert found.sentences[-1] == "with the parts of either the step is alike in all digests"
    assert found.first is None


def test_layers_of_another_name_and_entries_that_are_missing() -> None:
    def renamed(entry: TraceEntry) -> TraceEntry:
        return entry.model_copy(update={"layer": entry.layer.replace("/conv", "/new")})

    other = [
        one.model_copy(update={"entries": list(map(renamed, one.entries))}) for one in traces()
    ]
    difference = first_difference(traces(), other)
    assert difference is not None
    assert difference.text == (
        "the state before the step, W of /conv (the other run has the state before the step, W of "
        "/new there), ranks 0, 1, 2, 3 on node0, node1"
    )
    short = [one.model_copy(update={"entries": one.entries[:3]}) for one in traces()]
    for pair in ((traces(), short), (short, traces())):
        difference = first_difference(*pair)
        assert difference is not None
        assert "output of /conv (the other run has nothing there)" in difference.text


def test_what_is_alike_is_no_difference() -> None:
    assert first_difference(traces(), traces()) is None
    pairs: List[Tuple[int, str]] = [(2, "own")]
    changed = traces(lambda rank, e: "odd" if (rank, e.tensor) in pairs else None)
    assert first_difference(traces(), changed) is None


def test_a_run_of_the_step_that_failed_at_its_end_is_held_against_no_record(record: Any) -> None:
    runs = [StepRun(path, 3, traces(), []) for path in ("x", "y")]
    found = conclude(STEP, record("a"), record("b"), [Side("a", runs)])
    assert found.sentences[1:] == [
        "x left no whole trail, so no record is compared with it: see why it failed"
    ]
