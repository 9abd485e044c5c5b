"""The first step that differs, run again here layer by layer: whose fault it was (pure)

Two runs part at a step. It was run again at least twice from the state before it. Runs of it that
are unlike show that this machine, or the code, does not repeat. Runs that are alike are held
against both records, and, where the two runs have other parts, against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from manifests.record.outcome import TrailRecord
from manifests.record.step_trace import RankTrace
from manifests.verdict.comparison import StepDifference, StepItem, Zoom, ZoomPlace
from manifests.verdict.run_record import RunRecord
from manifests.verdict.sum_order import other_order
from manifests.verdict.trace_difference import (
    TraceDifference,
    entries_of,
    first_difference,
    ranks_text,
    tensors_of,
)
from manifests.verdict.trail_difference import trail_difference

_NAMED = 4


@dataclass(frozen=True)
class StepRun:
    """One run of the step on this machine: ``begin`` is the step of the state that it began with,
    ``trail`` has the steps after it, with tensor digests at each."""

    path: str
    begin: int
    traces: List[RankTrace]
    trail: List[List[TrailRecord]]


@dataclass(frozen=True)
class Side:
    """The runs of the step with the parts of ``a`` or of ``b``: two, or three where two were
    unlike. ``why_not`` says why there are none."""

    name: str
    runs: List[StepRun]
    why_not: Optional[str] = None

    @property
    def alike(self) -> bool:
        return bool(self.runs) and _unlike(self.runs[0], self.runs[1]) is None


def conclude(
    step: int,
    a: RunRecord,
    b: RunRecord,
    sides: Sequence[Side],
    changed: Optional[Mapping[int, str]] = None,
) -> Zoom:
    """``sides``: that of ``a`` alone where both runs have the same parts, else those of both.

    ``changed``: sample number -> path of the training images that ``b`` has otherwise than ``a``;
    None where both have the same tables.
    """
    sentences = [text for side in sides for text in _self_agreement(step, side)]
    unlike = [side for side in sides if side.runs and not side.alike]
    place = None
    if unlike:
        place = _unlike(unlike[0].runs[0], unlike[0].runs[1])
    else:
        for side in sides:
            ran = [one.name for one in sides if one.runs]
            sentences += _against_records(side, a, b, own=len(sides) > 1 and len(ran) > 1)
        if len(sides) > 1:
            place, texts = _between(sides, changed)
            sentences += texts
    recorded = None if place or unlike or len(sides) > 1 else _recorded_place(sides[0], a, b)
    return Zoom(
        step=step,
        begin=min([run.begin for side in sides for run in side.runs], default=0),
        runs=[run.path for side in sides for run in side.runs],
        alike=not unlike,
        first=recorded if place is None else _as_record(place),
        sentences=sentences,
    )


def _as_record(place: TraceDifference) -> ZoomPlace:
    entry = place.entry
    return ZoomPlace(
        phase=entry.phase,
        layer=entry.layer,
        tensor=entry.tensor,
        ranks=place.ranks,
        hosts=sorted(set(place.hosts)),
    )


# --- does this machine agree with itself? ---------------------------------------------------


def _unlike(one: StepRun, other: StepRun) -> Optional[TraceDifference]:
    return first_difference(one.traces, other.traces)


def _self_agreement(step: int, side: Side) -> List[str]:
    if not side.runs:
        return [f"step {step} with the parts of {side.name} cannot be run here: {side.why_not}"]
    first, second, *third = side.runs
    digests = sum(len(trace.entries) for trace in first.traces)
    hosts = ", ".join(dict.fromkeys(trace.head.host for trace in first.traces))
    begun = f"the state after step {first.begin}" if first.begin else "the seed"
    what = f"step {step} was run twice on {hosts} from {begun}, with the parts of {side.name}"
    found = _unlike(first, second)
    if found is None:
        return [f"{what}: alike in all {digests} digests; this machine agrees with itself"]
    texts = [
        f"{what}: this machine does not agree with itself: the two differ first in {found.text}"
    ]
    return texts + _decided(first, second, third, found)


def _decided(
    first: StepRun, second: StepRun, third: Sequence[StepRun], found: TraceDifference
) -> List[str]:
    """A third run of the step: an error that happens once leaves two alike."""
    if not third:
        return []
    ranks = ranks_text(found.ranks, found.hosts)
    odd = 2 if _unlike(first, third[0]) is None else 1 if _unlike(second, third[0]) is None else 0
    if odd:
        other = 3 - odd
        return [
            f"a third run is alike to run {other}, so run {odd} went wrong: {ranks} computed that "
            "tensor wrongly once; look at the memory and the processor (or GPU) there"
        ]
    return [
        "a third run is unlike both: what is computed there is no function of the state, the batch "
        f"and the seed: on {ranks} the code draws without a seed or reads memory, a clock or a "
        "file that changes, or the machine errs every time"
    ]


# --- against what the runs recorded ---------------------------------------------------------


def _against_records(side: Side, a: RunRecord, b: RunRecord, *, own: bool) -> List[str]:
    """What of the records of ``a`` and ``b``, or of the side's ``own``, the runs of this machine
    have, and where not."""
    if not side.runs:
        return []
    run = side.runs[0]
    if not run.trail:
        return [
            f"{run.path} left no whole trail, so no record is compared with it: see why it failed"
        ]
    if own:
        record = a if side.name == "a" else b
        return [_has_record(run, side.name, record)]
    fits = {name: _parting(run, record) for name, record in (("a", a), ("b", b))}
    texts = [_has_record(run, name, record) for name, record in (("a", a), ("b", b))]
    wrong = [name for name, parting in fits.items() if parting is not None]
    if a.manifest.identity != b.manifest.identity:
        return texts
    if len(wrong) == 1:
        other = "b" if wrong == ["a"] else "a"
        texts.append(
            f"{other} and this machine agree, {wrong[0]} does not: "
            f"the error was in {wrong[0]}, or in what its machine did otherwise"
        )
    elif wrong:
        texts.append("this machine agrees with neither of the two")
    return texts


def _recorded_place(side: Side, a: RunRecord, b: RunRecord) -> Optional[ZoomPlace]:
    """Where a record differs first from what this machine computed: that of the run which alone
    does, else that of ``a``. The ranks of a mean gradient that differs are not known."""
    if not side.runs or not side.runs[0].trail:
        return None
    run = side.runs[0]
    found = [(record, _parting(run, record)) for record in (a, b)]
    record, parting = next(((one, part) for one, part in found if part is not None), (a, None))
    if parting is None:
        return None
    losses = [item.rank for item in parting.items if item.what == "loss"]
    if losses:
        hosts = sorted({_hosts(record).get(rank, UNKNOWN) for rank in losses})
        return ZoomPlace(phase="loss", layer="", tensor="loss", ranks=losses, hosts=hosts)
    for what, phase in (("gradients", "reduced"), ("parameters", "after")):
        names = [name for item in parting.items if item.what == what for name in item.tensors]
        if names:
            layer, _, tensor = _backward(run, names)[0].rpartition("/")
            return ZoomPlace(phase=phase, layer=layer, tensor=tensor, ranks=[], hosts=[])
    return None


def _parting(run: StepRun, record: RunRecord) -> Optional[StepDifference]:
    first = 0 if run.begin == 0 else run.begin + 1
    last = run.trail[0][-1].step if run.trail and run.trail[0] else 0
    recorded = [[one for one in rank if first <= one.step <= last] for rank in record.trail or []]
    return trail_difference(recorded, run.trail).first


def _has_record(run: StepRun, name: str, record: RunRecord) -> str:
    parting = _parting(run, record)
    if parting is None:
        return f"{name} recorded the same losses and digests"
    return f"{name} recorded other ones: " + _first_item(run, record, parting)


def _first_item(run: StepRun, record: RunRecord, parting: StepDifference) -> str:
    """The first of the step's differences in the order of the work: losses (forward passes), then
    gradients from the last layer to the first, then parameters."""
    where = f"first at step {parting.step}"
    of_kind = {what: [item for item in parting.items if item.what == what] for what in _KINDS}
    if of_kind["record"] or of_kind["samples"]:
        items = of_kind["record"] or of_kind["samples"]
        return f"{where}, {items[0].what} of {_ranks(items, record)}"
    if of_kind["loss"]:
        items = of_kind["loss"]
        alike = len(record.trail or []) > len(items)
        text = f"{where}, the loss of {_ranks(items, record)}"
        text += "; the losses of the other ranks are alike" if alike else ""
        return f"{text}: {_before(record, parting.step)}"
    for what in ("gradients", "parameters"):
        if of_kind[what]:
            return f"{where}, {_tensors(run, record, parting, of_kind[what][0])}"
    return where


def _before(record: RunRecord, step: int) -> str:
    """What a loss that differs at ``step`` leaves open."""
    ranks = (record.trail or [[]])[0]
    known = [one.step for one in ranks if one.step < step and one.parameters is not None]
    layers = "a forward pass, of which the record has no layers"
    if known and known[-1] == step - 1:
        return f"{layers}; the parameters before it are alike"
    since = f"step {known[-1]}" if known else "the first step"
    return f"{layers}, or parameters that were others before: the record has none since {since}"


_KINDS = ("record", "samples", "loss", "gradients", "parameters")


def _ranks(items: Sequence[StepItem], record: RunRecord) -> str:
    ranks = [item.rank for item in items]
    hosts = _hosts(record)
    return ranks_text(ranks, [hosts.get(rank, UNKNOWN) for rank in ranks])


UNKNOWN = "an unknown host"


def _hosts(record: RunRecord) -> Dict[int, str]:
    places = record.result.observed.ranks if record.result else []
    return {place.rank: place.host for place in places}


def _backward(run: StepRun, names: Sequence[str]) -> List[str]:
    """Names of parameters from the last layer to the first."""
    order = list(tensors_of(run.traces[0], "gradients"))
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _tensors(run: StepRun, record: RunRecord, parting: StepDifference, item: StepItem) -> str:
    names = _backward(run, item.tensors)
    text = f"the {'mean gradient' if item.what == 'gradients' else 'parameter'} {names[0]}"
    text += (
        f" and {len(names) - 1} more, from the last layer to the first" if len(names) > 1 else ""
    )
    text += "; all losses are alike"
    if item.what != "gradients" or parting.step != run.traces[0].head.step:
        return text
    recorded = next(
        (one.gradients for one in (record.trail or [[]])[0] if one.step == parting.step), None
    )
    order_found = other_order(run.traces[0], tensors_of(run.traces[0], "reduced"), recorded or {})
    if order_found:
        return f"{text}: {order_found}"
    return (
        f"{text}: no order of summation that is known here gives it, so a rank's backward pass or "
        "the sum went wrong"
    )


# --- the parts of both runs, held against each other ----------------------------------------


def _between(
    sides: Sequence[Side], changed: Optional[Mapping[int, str]]
) -> Tuple[Optional[TraceDifference], List[str]]:
    images, texts = (None, []) if changed is None else _other_images(sides, changed)
    runs = [side.runs[0] for side in sides if side.runs]
    if len(runs) < 2:
        return images, texts
    place = first_difference(runs[0].traces, runs[1].traces)
    if place is None:
        return None, [*texts, "with the parts of either the step is alike in all digests"]
    text = f"with the parts of a and of b the step differs first in {place.text}"
    if place.entry.phase == "reduced":
        here, there = (tensors_of(run.traces[0], "reduced") for run in runs)
        order = other_order(runs[0].traces[0], here, there)
        text += "; each rank's own gradients are alike"
        if order:
            text += ": " + order.replace(" here,", " in a,").replace(" there", " in b")
    return place, [*texts, text]


def _other_images(
    sides: Sequence[Side], changed: Mapping[int, str]
) -> Tuple[Optional[TraceDifference], List[str]]:
    """Images of the step's batches that ``a`` and ``b`` do not have alike: the ranks, and for each
    of them a sentence."""
    run = next((side.runs[0] for side in reversed(sides) if side.runs), None)
    texts: List[str] = []
    place: Optional[TraceDifference] = None
    for trace in run.traces if run else []:
        samples = [n for entry in entries_of(trace, "batch") for n in entry.samples or []]
        odd = [n for n in samples if n in changed]
        shown = [f"sample {n} ({changed[n]})" for n in odd[:_NAMED]]
        more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
        if odd:
            head, entry = trace.head, entries_of(trace, "batch")[0]
            before = place or TraceDifference(entry, [], [])
            place = TraceDifference(entry, [*before.ranks, head.rank], [*before.hosts, head.host])
            texts.append(
                f"rank {trace.head.rank}: images of its batch that are not those of a: "
                f"{', '.join(shown)}{more}"
            )
    return place, texts or ["the batch has the same images in a and in b"]
