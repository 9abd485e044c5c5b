"""What the template of a page gets: the values of each section, in order"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from container.size_text import size_text
from container.utf8_text import utf8_text
from manifests.record.communicators import counted
from manifests.record.json_numbers import not_finite_text
from manifests.report import strip
from manifests.report.appendix import appendix_of
from manifests.report.banner import Banner, banner_alone, banner_of, banner_together
from manifests.report.chart import charts_of
from manifests.report.citation import Cited, bibtex, paragraph
from manifests.report.contents import lock_of, packages_of
from manifests.report.machines import job_times, machine_rows, takeovers
from manifests.report.reported import ReportedPair, ReportedRun, joined
from manifests.report.statements import StatementRow
from manifests.rundir.rerun_command import rerun_command
from manifests.verdict.comparison import Comparison, FieldDifference
from manifests.verdict.step_states import NOT_COMPARED

#: Fields that differ and are written out for a pair of runs.
MOST_FIELDS = 200

#: A value of a field that is longer is cut: lists of files, texts.
MOST_LETTERS = 300


@dataclass(frozen=True)
class StripRow:
    """A strip of all steps; ``marks`` are (place, class, title)."""

    title: str
    rectangles: List[strip.Rectangle]
    marks: List[Tuple[float, str, str]]
    counts: List[Tuple[str, str, int]]
    ranges: List[str]
    more: int

    @property
    def text(self) -> str:
        return ", ".join(f"{count} {words}" for _, words, count in self.counts)


def view_of(
    runs: Sequence[ReportedRun],
    pairs: Sequence[ReportedPair],
    statements: Sequence[StatementRow],
    *,
    original: Optional[str] = None,
    recorded: Optional[Comparison] = None,
) -> Dict[str, Any]:
    """``pairs`` are the first run and each other one. A page with one run has none; ``original`` is
    then the name of the run that it repeats, ``recorded`` the verdict in its directory."""
    first = runs[0]
    manifest = first.manifest
    joint = joined(first, pairs)
    text, entry = _citation(first, pairs)
    done = [run.record.result.steps for run in runs if run.record.result]
    compared = [len(pair.states or b"") - 1 for pair in pairs]
    steps = max([manifest.identity.steps, *done, *compared])
    lock = lock_of(manifest)
    return {
        "title": first.name,
        "banner": _banner(pairs, joint, original, recorded),
        "verdicts": [(pair.other.letter, pair.comparison.verdict) for pair in pairs],
        "runs": [_run_values(run) for run in runs],
        "steps": steps,
        "middle": steps // 2,
        "strip_width": strip.WIDTH,
        "strips": _strips(first, pairs, steps, together=joint is not None),
        "charts": charts_of([run.curves for run in runs]),
        "joint": joint,
        "differences": [_differences(pair) for pair in pairs],
        "faults": [f"run {run.letter}: {fault}" for run in runs for fault in run.faults],
        "jobs": [(run, job_times(run)) for run in runs],
        "machines": machine_rows(list(runs)),
        "image": manifest.identity.image,
        "image_size": size_text(manifest.identity.image.size),
        "packages": packages_of(lock) if lock else [],
        "statements": statements,
        "readme": first.files.readme.is_file(),
        "command": utf8_text(rerun_command(first.files, manifest)),
        "appendix": appendix_of(first, text),
        "bibtex": entry,
    }


def _banner(
    pairs: Sequence[ReportedPair],
    joint: Optional[Comparison],
    original: Optional[str],
    recorded: Optional[Comparison],
) -> Banner:
    if joint is not None:
        return banner_together(joint, pairs)
    return banner_of(pairs) if pairs else banner_alone(original, recorded)


def _citation(first: ReportedRun, pairs: Sequence[ReportedPair]) -> Tuple[str, str]:
    """Paragraph and BibTeX entry on the first run and the whole reruns on the page."""
    if first.record.result is None:
        return "", ""
    whole = [pair.comparison.verdict for pair in pairs if pair.comparison.steps is None]
    same = whole.count("identical")
    cited = Cited(first.name, first.manifest, first.record.result, same, len(whole))
    with suppress(ValueError):  # a day that is none
        return paragraph(cited), bibtex(cited)
    return "", ""


def _strips(
    first: ReportedRun, pairs: Sequence[ReportedPair], steps: int, *, together: bool
) -> List[StripRow]:
    if not pairs:
        return [strip_alone(first, steps)]
    rows = [strip_of(first, pair, steps) for pair in pairs]
    return [strip_together(first, pairs, steps), *rows] if together else rows


def _run_values(run: ReportedRun) -> Dict[str, Any]:
    circumstance, result = run.manifest.circumstance, run.record.result
    rerun, resumed = circumstance.rerun_of, circumstance.resumed
    role, part = "run", circumstance.slice
    if rerun:
        steps = f" for steps {part.begin + 1} to {part.end}" if part else ""
        role = f"rerun of {Path(rerun).name}{steps}"
    elif resumed:
        role = f"begins with the checkpoint after step {resumed.step} of {Path(resumed.run).name}"
    return {
        "letter": run.letter,
        "name": run.name,
        "role": role,
        "created": circumstance.created,
        "by": f"{circumstance.user} on {circumstance.host}",
        "message": run.labels.message or "",
        "tags": run.labels.tags,
        "notes": run.labels.notes,
        "result": _done(run),
        "odd": not_finite_text(result.metrics) if result else "",
        "parameters": result.digests.parameters if result else "-",
        "identity": run.manifest.identity_digest,
    }


def _done(run: ReportedRun) -> str:
    result, part = run.record.result, run.manifest.circumstance.slice
    if result is None:
        return "no result"
    return f"{counted(result.steps - (part.begin if part else 0), 'step')} done"


def _states_of(pair: ReportedPair, steps: int) -> bytes:
    return (pair.states or b"")[: steps + 1].ljust(steps + 1, bytes([NOT_COMPARED]))


def strip_together(first: ReportedRun, pairs: Sequence[ReportedPair], steps: int) -> StripRow:
    """A step is different where one of the slices says so, else equal where one has it: the order
    of the states."""
    states = bytes(map(max, *(_states_of(pair, steps) for pair in pairs)))
    marks = [
        mark for run in (first, *(pair.other for pair in pairs)) for mark in _marks(run, steps)
    ]
    return _row("A and its slices together", states, marks)


def strip_of(first: ReportedRun, pair: ReportedPair, steps: int) -> StripRow:
    states = _states_of(pair, steps)
    title = f"A and {pair.other.letter}"
    marks = [mark for run in (first, pair.other) for mark in _marks(run, steps)]
    return _row(title, states, marks)


def strip_alone(run: ReportedRun, steps: int) -> StripRow:
    return _row("A", bytes([NOT_COMPARED]) * (steps + 1), _marks(run, steps))


def _row(title: str, states: bytes, marks: List[Tuple[float, str, str]]) -> StripRow:
    ranges = strip.ranges_of(states)
    return StripRow(
        title,
        strip.rectangles_of(ranges),
        marks,
        strip.counts_of(ranges),
        [one.text for one in ranges[: strip.MOST_RANGES]],
        max(0, len(ranges) - strip.MOST_RANGES),
    )


def _marks(run: ReportedRun, steps: int) -> List[Tuple[float, str, str]]:
    """Where jobs took over, and both ends of a slice."""
    part = run.manifest.circumstance.slice
    found = [
        ("resumed", step, f"run {run.letter} resumed after step {step}") for step in takeovers(run)
    ]
    if part is not None:
        found += [
            (
                "slice",
                part.begin,
                f"run {run.letter}, a slice, begins after step {part.begin}",
            ),
            ("slice", part.end, f"run {run.letter}, a slice, ends with step {part.end}"),
        ]
    return [(strip.place_of(step, steps), kind, text) for kind, step, text in found]


def _differences(pair: ReportedPair) -> Dict[str, Any]:
    found = pair.comparison
    tables = [
        ("Inputs that differ", found.suspects),
        ("Metadata that differs", found.circumstances),
    ]
    return {
        "letter": pair.other.letter,
        "verdict": found.verdict,
        "evidence": found.evidence,
        "next_step": found.next_step,
        "claim": found.steps if found.verdict == "identical" else None,
        "tables": [
            (title, [_cells(field) for field in fields[:MOST_FIELDS]], len(fields) - MOST_FIELDS)
            for title, fields in tables
            if fields
        ],
    }


def _cells(field: FieldDifference) -> Tuple[str, str, str]:
    return field.path, _value(field.a), _value(field.b)


def _value(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} ..."
