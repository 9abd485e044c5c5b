"""A rerun's verdict as statements: our predicate ``rerun-verdict``, and in-toto's test-result"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from manifests.record.outcome import Observed
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
    run: JudgedRun, rerun: JudgedRun, comparison: Comparison
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The rerun-verdict and its test-result twin, both about ``run``.

    Raises ValueError where the run has no result: then nothing was there to be compared.
    """
    if run.record.result is None or run.result_sha256 is None:
        raise ValueError("the run has no result")
    subject = outputs(run.manifest_sha256, run.record.result, run.result_sha256)
    predicate = _verdict(run, rerun, comparison)
    return (
        statement(subject, RERUN_VERDICT, predicate),
        statement(subject, TEST_RESULT, _test_result(rerun, comparison)),
    )


def _verdict(run: JudgedRun, rerun: JudgedRun, comparison: Comparison) -> Dict[str, Any]:
    manifest = rerun.record.manifest
    result = rerun.record.result
    values: Dict[str, Any] = {
        "verdict": comparison.verdict,
        "run": run.name,
        "identity": run.record.manifest.identity_digest,
        "rerun": _rerun(rerun),
        "steps": _steps(comparison, run),
        "evidence": _evidence(comparison, run, rerun),
        "machine": machine(result.observed if result else None, manifest.circumstance.host),
        "image": descriptor("image", manifest.identity.image.sha256),
        "day": (result.observed.finished if result else manifest.circumstance.created)[:10],
    }
    if run.record.result is not None:
        values["trail"] = run.record.result.digests.trail
        values["parameters"] = run.record.result.digests.parameters
        if run.record.result.root is not None:
            values["root"] = run.record.result.root
    return values


def _rerun(rerun: JudgedRun) -> Dict[str, Any]:
    digests = [descriptor(MANIFEST, rerun.manifest_sha256)]
    if rerun.result_sha256 is not None:
        digests.append(descriptor("result.json", rerun.result_sha256))
    return {"name": rerun.name, "records": digests}


def _steps(comparison: Comparison, run: JudgedRun) -> Dict[str, Any]:
    """Which steps were held against each other: ``first`` to ``last`` of ``of``."""
    part, result = comparison.steps, run.record.result
    of = result.steps if result else run.record.manifest.identity.steps
    if comparison.verdict == "cannot-run":
        return {"of": of}
    steps: Dict[str, Any] = {"first": 1, "last": of, "of": of}
    if part is not None:
        steps.update(first=part.after + 1, last=part.end, of=part.of)
        steps["notClaimed"] = part.not_claimed
    if comparison.last_equal_step is not None:
        steps["lastEqual"] = comparison.last_equal_step
    if comparison.first_difference is not None:
        steps["firstDifference"] = comparison.first_difference.step
    return steps


def _evidence(comparison: Comparison, run: JudgedRun, rerun: JudgedRun) -> List[str]:
    """The comparison's sentences; names of runs stand in the place of their folders."""
    sentences = []
    for sentence in comparison.evidence:
        for one in (run, rerun):
            sentence = sentence.replace(one.record.path, one.name)
        sentences.append(sentence)
    return sentences


def machine(observed: Optional[Observed], host: str) -> Dict[str, Any]:
    """Where the ranks ran: host names, processor, GPUs; ``host`` where that is not known."""
    if observed is None:
        return {"hosts": [host]}
    hosts = sorted({rank.host for rank in observed.ranks} or {host})
    found: Dict[str, Any] = {"hosts": hosts, "processor": observed.cpu_model}
    if observed.gpus is not None:
        found["gpus"] = sorted({rank.kind.text for rank in observed.gpus.ranks})
        found["driver"] = observed.gpus.driver
    return found


def _test_result(rerun: JudgedRun, comparison: Comparison) -> Dict[str, Any]:
    result = TEST_RESULTS[comparison.verdict]
    lists: Dict[str, List[str]] = {name: [] for name in _TESTS.values()}
    lists[_TESTS[result]].append(TEST)
    return {
        "result": result,
        "configuration": [descriptor(f"{rerun.name}/manifest.json", rerun.manifest_sha256)],
        **lists,
    }
