"""Two runs -> the verdict on their bits (pure)."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from manifests.record.communicators import counted
from manifests.record.log_columns import SINCE_LAST_ROW, TIMINGS
from manifests.record.outcome import Result, SeenGpus
from manifests.record.schema import GpuPromise
from manifests.verdict.comparison import (
    Comparison,
    StepItem,
    Verdict,
    cannot_run,
    exit_code,
)
from manifests.verdict.comparison_text import lines
from manifests.verdict.field_differences import field_differences
from manifests.verdict.gpu_difference import circumstances as gpu_circumstances
from manifests.verdict.gpu_difference import other_conditions
from manifests.verdict.run_record import RunRecord, load_record
from manifests.verdict.span import (
    Span,
    claim_of,
    common_span,
    narrowed,
    span_gaps,
    states_agreement,
    states_evidence,
)
from manifests.verdict.swapped_parts import judged
from manifests.verdict.trail_difference import TrailFinding, trail_difference

__all__ = [
    "Comparison",
    "RunRecord",
    "cannot_run",
    "compare",
    "exit_code",
    "lines",
    "load_record",
]

_NAMED = 8


def compare(a: RunRecord, b: RunRecord, finding: Optional[TrailFinding] = None) -> Comparison:
    """Say whether two runs gave the same bits, and where they parted.

    A difference in the bits is ``diverged``, or ``inconclusive`` where a run was made outside of
    the conditions under which its manifest promises them, where the two had GPUs of different
    classes or NCCL added in another order, or where files were altered afterwards.
    Without a difference the runs are ``identical`` if both ended and left result and trail, else
    ``inconclusive``. Of a slice and a run, or two slices, the steps are compared that both have.
    ``finding`` is that of their trails, where it is known already.
    """
    span = common_span(a, b)
    if span is not None:
        a, b = narrowed(a, span), narrowed(b, span)
    at_end = span is None or span.reaches_the_end
    if finding is None and a.trail and b.trail:
        finding = trail_difference(a.trail, b.trail)
    differences = _trail_evidence(a, b, finding)
    differences += states_evidence(a, b, span) if span else []
    differences += _result_evidence(a, b) if at_end else []
    gaps = _gaps(a) + _gaps(b) + (_lost_models(a, b) if at_end else [])
    gaps += span_gaps(span, finding.steps) if span and finding and not differences else []
    agreement = _agreement(a, b, finding, differences, span)
    gpus = _gpus(a), _gpus(b)
    outside = _outside_promises(a) + _outside_promises(b) + other_conditions(*gpus)
    if a.altered or b.altered:
        verdict: Verdict = "inconclusive"
    elif differences:
        verdict = "inconclusive" if outside else "diverged"
    else:
        verdict = "inconclusive" if gaps else "identical"
    found = Comparison(
        verdict=verdict,
        a=a.path,
        b=b.path,
        evidence=[*differences, *agreement, *gaps, *outside],
        first_difference=finding.first if finding else None,
        last_equal_step=finding.last_equal if finding else None,
        last_equal_parameters=finding.last_parameters if finding else None,
        suspects=field_differences(a.manifest.identity, b.manifest.identity),
        circumstances=[
            *field_differences(a.manifest.circumstance, b.manifest.circumstance),
            *gpu_circumstances(*gpus),
        ],
        steps=claim_of(a, b, span),
    )
    repeated = b.manifest.circumstance.rerun_of == a.path
    return judged(found, a.manifest, b.manifest) if repeated else found


def _gpus(record: RunRecord) -> Optional[SeenGpus]:
    return record.result.observed.gpus if record.result else None


# --- what differs ---------------------------------------------------------------------------


def _named(names: List[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _item_text(item: StepItem) -> str:
    if item.what == "loss" and item.a is not None and item.b is not None:
        values = [f"{float.fromhex(text):.9g} ({text})" for text in (item.a, item.b)]
        return f"rank {item.rank}: loss {values[0]} | {values[1]}"
    if item.what == "samples":
        return f"rank {item.rank}: samples {item.a} | {item.b}"
    if item.what == "record":
        return f"rank {item.rank}: record {item.a} | {item.b}"
    return f"rank {item.rank}: {item.what} {_named(item.tensors)}"


def _trail_evidence(a: RunRecord, b: RunRecord, finding: Optional[TrailFinding]) -> List[str]:
    if finding is None:
        return []
    if finding.first is None:
        if a.done and b.done and finding.a_end != finding.b_end:
            return [f"the last step is {finding.a_end} | {finding.b_end}"]
        return []
    sentences = [
        f"first difference at step {finding.first.step}, {_item_text(item)}"
        for item in finding.first.items
    ]
    if finding.last_equal is not None:
        sentences.append(f"last step known to be equal: {finding.last_equal}")
    if finding.last_parameters is not None and finding.last_parameters != finding.last_equal:
        sentences.append(f"last step with parameters known to be equal: {finding.last_parameters}")
    return sentences


def _metrics(a: RunRecord, b: RunRecord) -> Tuple[Dict[str, float], Dict[str, float]]:
    """The last rows without timings; sums since the row before only where rows fall together."""
    skipped: Tuple[str, ...] = ()
    if a.manifest.circumstance.observing.test != b.manifest.circumstance.observing.test:
        skipped = SINCE_LAST_ROW
    sides = []
    for record in (a, b):
        values = record.result.metrics if record.result else {}
        sides.append(
            {
                name: value
                for name, value in values.items()
                if name not in TIMINGS and name not in skipped
            }
        )
    return sides[0], sides[1]


def _same(a: Optional[float], b: Optional[float]) -> bool:
    """NaN equals NaN: it is the same outcome."""
    return a == b or (a is not None and b is not None and a != a and b != b)


def _result_evidence(a: RunRecord, b: RunRecord) -> List[str]:
    if a.result is None or b.result is None:
        return []
    sentences = []
    of_a, of_b = a.result.digests, b.result.digests
    if of_a.parameters != of_b.parameters:
        names = [name for name in of_a.tensors if of_a.tensors[name] != of_b.tensors.get(name)]
        names += [name for name in of_b.tensors if name not in of_a.tensors]
        sentences.append(f"final parameters {of_a.parameters} | {of_b.parameters}")
        if names:
            sentences.append(
                f"{len(names)} of {len(of_a.tensors)} final tensors differ: {_named(names)}"
            )
    if of_a.model != of_b.model:
        sentences.append(f"results/model.npz {of_a.model} | {of_b.model}")
    if a.result.steps != b.result.steps:
        sentences.append(f"steps {a.result.steps} | {b.result.steps}")
    left, right = _metrics(a, b)
    columns = {*left, *right}
    if a.manifest.identity.code.digest != b.manifest.identity.code.digest:
        columns = {*left} & {*right}  # a column more in the log of other code is no other bit
    sentences += [
        f"{name} {left.get(name, 'absent')} | {right.get(name, 'absent')}"
        for name in sorted(columns)
        if not _same(left.get(name), right.get(name))
    ]
    return sentences


# --- what agrees, and what is not known -----------------------------------------------------


def _agreement(
    a: RunRecord,
    b: RunRecord,
    finding: Optional[TrailFinding],
    differences: List[str],
    span: Optional[Span],
) -> List[str]:
    sentences = []
    if finding is not None and finding.first is None:
        ranks = min(len(a.trail or []), len(b.trail or []))
        sentences.append(
            f"samples and losses of {counted(finding.steps, 'step')} on {counted(ranks, 'rank')} "
            f"are equal, and so are the tensor digests of {counted(finding.tensors, 'step')}"
        )
    sentences += states_agreement(a, b, span) if span else []
    at_end = span is None or span.reaches_the_end
    if at_end and not differences and a.result and b.result and _intact("result.json", a, b):
        sentences.append(f"final parameters of both: {a.result.digests.parameters}")
        if _intact("results/model.npz", a, b):
            sentences.append(f"results/model.npz of both: {a.result.digests.model}")
        sentences += _restored(a, b)
    return sentences


def _intact(name: str, *records: RunRecord) -> bool:
    """Whether no run's file of this name was altered: nothing is said of both otherwise."""
    return not any(
        text.startswith(f"{record.path}/{name}") for record in records for text in record.altered
    )


def _restored(a: RunRecord, b: RunRecord) -> List[str]:
    """A lost model is a reason to run again: where its bytes are now."""
    lost, other = (a, b) if a.model is None else (b, a)
    if lost.model is not None or other.model is None:
        return []
    return [
        f"{lost.path}: results/model.npz is gone; the recorded model is there again: {other.model}"
    ]


def _gaps(record: RunRecord) -> List[str]:
    gaps = [f"{record.path}: {text}" for text in _missing(record)]
    return [*gaps, *record.faults, *record.altered]


def _lost_models(a: RunRecord, b: RunRecord) -> List[str]:
    """Digests of files that nobody can look at any more prove nothing of each other."""
    if a.model is not None or b.model is not None or not (a.result and b.result):
        return []
    return [f"{record.path}: results/model.npz is gone" for record in (a, b)]


def _missing(record: RunRecord) -> List[str]:
    missing = []
    if not record.done:
        missing.append("the run is not complete (no DONE)")
    if record.result is None:
        missing.append("there is no result.json")
    if not record.trail and not record.altered:
        missing.append("there is no whole trail")
    return missing


def _outside_promises(record: RunRecord) -> List[str]:
    if record.result is None:
        return []
    return [f"{record.path}: {text}" for text in _broken_conditions(record, record.result)]


def _broken_conditions(record: RunRecord, result: Result) -> List[str]:
    broken = []
    seen = result.observed
    absent = sorted(set(record.manifest.promises.cpu_features) - set(seen.cpu_features))
    if absent:
        broken.append(
            f"the promise requires the CPU features {' '.join(absent)}; {seen.cpu_model} lacks them"
        )
    broken += _foreign_gpus(record.manifest.promises.gpu, seen.gpus)
    for name, value in record.manifest.identity.determinism.environment.items():
        if seen.environment.get(name) != value:
            broken.append(
                f"{name} was {seen.environment.get(name, 'not set')}, the manifest asks for {value}"
            )
    return broken


def _foreign_gpus(promise: Optional[GpuPromise], seen: Optional[SeenGpus]) -> List[str]:
    if promise is None:
        return []
    if seen is None:
        return ["the manifest asks for a GPU per rank, the run had none"]
    if not promise.classes:
        return []
    wanted = " or ".join(kind.text for kind in promise.classes)
    return [
        f"the promise requires a {wanted}, rank {rank.rank} had a {rank.kind.text}"
        for rank in seen.ranks
        if rank.kind.text not in [kind.text for kind in promise.classes]
    ]
