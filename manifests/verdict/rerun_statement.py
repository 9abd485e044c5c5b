"""A rerun's verdict as statements: our predicate ``rerun-verdict``, and in-toto's test-result"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from manifests.rundir.provenance import outputs
from manifests.rundir.statement import (
    MANIFEST,
    RERUN_VERDICT,
    TEST_RESULT,
    descriptor,
    statement,
)
from manifests.verdict.comparison import Comparison
from manifests.verdict.run_record import RunRecord

#: in-toto knows three results; a rerun that was not possible has not passed.
TEST_RESULTS = {
    "identical": "PASSED",
    "inconclusive": "WARNED",
    "diverged": "FAILED",
    "cannot-run": "FAILED",
}
_TESTS = {"PASSED": "passedTests", "WARNED": "warnedTests", "FAILED": "failedTests"}

#: Its name among the tests of a test-result.
TEST = "rerun"


class JudgedRun:
    """A run with the digests of its records' bytes."""

    def __init__(
        self, name: str, record: RunRecord, manifest_sha256: str, result_sha256: Optional[str]
    ) -> None:
        self.name = name
        self.record = record
        self.manifest_sha256 = manifest_sha256
        self.result_sha256 = result_sha256


def verdict_statements(
    run: JudgedRun, name: str, reruns: Sequence[JudgedRun], comparison: Comparison
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The rerun-verdict and its test-result twin, both about ``run``: on one rerun, or on several
    slices that were judged together, under their common ``name``.

    Raises ValueError where the run has no result: then nothing was there to be compared.
    """
    if run.record.result is None or run.result_sha256 is None:
        raise ValueError("the run has no result")
    subject = outputs(run.manifest_sha256, run.record.result, run.result_sha256)
    digests = run.record.result.digests
    predicate: Dict[str, Any] = {
        "verdict": comparison.verdict,
        "run": run.name,
        "identity": run.record.manifest.identity_digest,
        "trail": digests.trail,
        "parameters": digests.parameters,
        **({"root": run.record.result.root} if run.record.result.root is not None else {}),
        "rerun": {"name": name, "records": _records(reruns)},
        "steps": _steps(comparison, run.record.result.steps),
        "evidence": _evidence(comparison, [run, *reruns], name),
        "machine": machine(reruns),
        "image": descriptor("image", run.record.manifest.identity.image.sha256),
        "day": max(_ended(rerun) for rerun in reruns)[:10],
    }
    return (
        statement(subject, RERUN_VERDICT, predicate),
        statement(subject, TEST_RESULT, _test_result(reruns, comparison)),
    )


def _records(reruns: Sequence[JudgedRun]) -> List[Dict[str, Any]]:
    """The records of the reruns; under the names of their directories where they are several."""
    found = []
    for rerun in reruns:
        folder = f"{rerun.name}/" if len(reruns) > 1 else ""
        found.append(descriptor(f"{folder}{MANIFEST}", rerun.manifest_sha256))
        if rerun.result_sha256 is not None:
            found.append(descriptor(f"{folder}result.json", rerun.result_sha256))
    return found


def _steps(comparison: Comparison, of: int) -> Dict[str, Any]:
    """Which steps were held against each other: ``first`` to ``last`` of ``of``, or so many slices
    ``drawn`` at random."""
    part, slices = comparison.steps, comparison.slices
    steps: Dict[str, Any] = {"of": of}
    if comparison.verdict == "cannot-run":
        return steps
    if slices is not None:
        steps.update(slices=slices.of, notClaimed=slices.not_claimed)
        if slices.seed is not None:
            steps.update(drawn=len(slices.parts), seed=slices.seed)
        elif comparison.verdict == "identical":
            steps.update(first=1, last=of)
    elif part is not None:
        steps.update(first=part.after + 1, last=part.end, notClaimed=part.not_claimed)
    else:
        steps.update(first=1, last=of)
    if comparison.last_equal_step is not None:
        steps["lastEqual"] = comparison.last_equal_step
    if comparison.first_difference is not None:
        steps["firstDifference"] = comparison.first_difference.step
    return steps


def _evidence(comparison: Comparison, runs: Sequence[JudgedRun], name: str) -> List[str]:
    """The comparison's sentences; names of runs stand in the place of their folders."""
    names = {run.record.path: run.name for run in runs}
    if comparison.b is not None:
        names.setdefault(comparison.b, name)
    sentences = []
    for sentence in comparison.evidence:
        for path in sorted(names, key=len, reverse=True):
            sentence = sentence.replace(path, names[path])
        sentences.append(sentence)
    return sentences


def _ended(rerun: JudgedRun) -> str:
    result = rerun.record.result
    return result.observed.finished if result else rerun.record.manifest.circumstance.created


def machine(reruns: Sequence[JudgedRun]) -> Dict[str, Any]:
    """Where the ranks ran: host names, processors, GPUs, processors that were emulated; what is not
    known is left out."""
    hosts: Set[str] = set()
    processors: Set[str] = set()
    gpus: Set[str] = set()
    emulated: Set[str] = set()
    for rerun in reruns:
        seen = rerun.record.manifest.circumstance.emulated
        if seen is not None:
            emulated.add(f"{seen.model} by QEMU {seen.version}")
        observed = rerun.record.result.observed if rerun.record.result else None
        ranks = observed.ranks if observed else []
        hosts |= {rank.host for rank in ranks} or {rerun.record.manifest.circumstance.host}
        if observed is not None:
            processors.add(observed.cpu_model)
            if observed.gpus is not None:
                gpus |= {rank.kind.text for rank in observed.gpus.ranks}
    return {
        "hosts": sorted(hosts),
        **({"processor": ", ".join(sorted(processors))} if processors else {}),
        **({"gpus": sorted(gpus)} if gpus else {}),
        **({"emulated": sorted(emulated)} if emulated else {}),
    }


def _test_result(reruns: Sequence[JudgedRun], comparison: Comparison) -> Dict[str, Any]:
    result = TEST_RESULTS[comparison.verdict]
    lists: Dict[str, List[str]] = {name: [] for name in _TESTS.values()}
    lists[_TESTS[result]].append(TEST)
    return {
        "result": result,
        "configuration": [
            descriptor(f"{rerun.name}/{MANIFEST}", rerun.manifest_sha256) for rerun in reruns
        ],
        **lists,
    }
