"""The text of a comparison: the verdict first, code as a diff, values short unless all is wanted"""

from __future__ import annotations

import re
from typing import List, Sequence

from container.trouble import SHOWN, first_of
from manifests.datasets.names import printable
from manifests.record.communicators import counted
from manifests.verdict.code_difference import FileDifference
from manifests.verdict.comparison import Comparison, FieldDifference
from manifests.verdict.short_values import shortened, shown_pair

#: Lines of diffs that are printed where not all are wanted.
DIFF_LINES = 100
#: A file that only one run has is printed whole up to so many lines of its diff, of which the first
#: are its head.
SHORT_FILE, HEAD = 20, 3
#: Files that are named in a line.
NAMED = 6

_CODE = re.compile(r"(?:code|other_code)(?:$|\.)")
_CODE_OR_COMMIT = re.compile(r"(?:code|other_code|git)(?:$|\.)")


def lines(
    comparison: Comparison, code: Sequence[FileDifference] = (), *, full: bool = False
) -> List[str]:
    """``code``: what differs in the snapshots, which is shown in the place of their digests."""
    names = [f"  a: {comparison.a}"]
    if comparison.b is not None:
        names.append(f"  b: {comparison.b}")
    executed = [item for item in code if item.executed]
    others = [item for item in code if not item.executed]
    shown = executed + (others if full else [])
    evidence = [_sentence(text, comparison, full) for text in comparison.evidence]
    return [
        headline(comparison),
        *names,
        *(f"  - {sentence}" for sentence in (evidence if full else first_of(evidence))),
        *_claims(comparison),
        *_zoom(comparison),
        *_swapped(comparison),
        *_fields("inputs that differ", _unsaid(comparison, "suspects", full), executed, full),
        *_fields("metadata that differs", _unsaid(comparison, "circumstances", full), others, full),
        *_diffs(shown, full),
        *([f"-> {comparison.next_step}"] if comparison.next_step else []),
    ]


def headline(comparison: Comparison) -> str:
    steps, slices, verdict = comparison.steps, comparison.slices, comparison.verdict
    if slices is not None and slices.seed is not None:
        return f"verdict: {verdict} for {len(slices.parts)} of {slices.of} slices"
    if slices is not None:
        return f"verdict: {verdict}, by {counted(len(slices.parts), 'slice')}"
    if steps is None:
        return f"verdict: {verdict}"
    joint = {"identical": " for", "inconclusive": " for"}.get(verdict, " in")
    one = steps.end - steps.after == 1
    words = f"step {steps.end}" if one else f"steps {steps.after + 1}..{steps.end}"
    return f"verdict: {verdict}{joint} {words} of {steps.of}"


def _zoom(comparison: Comparison) -> List[str]:
    zoom = comparison.zoom
    if zoom is None:
        return []
    return [
        f"zoom into step {zoom.step}:",
        *(f"  - {text}" for text in zoom.sentences),
        *(f"  run: {path}" for path in zoom.runs),
    ]


def _claims(comparison: Comparison) -> List[str]:
    steps = comparison.slices or comparison.steps
    if steps is None or comparison.verdict != "identical":
        return []
    return [
        "shown:",
        *(f"  + {text}" for text in steps.claimed),
        "not shown:",
        *(f"  - {text}" for text in steps.not_claimed),
    ]


def _unsaid(comparison: Comparison, kind: str, full: bool) -> List[FieldDifference]:
    """Without hundreds of files, where the line on the swapped code has said what differs."""
    fields: List[FieldDifference] = getattr(comparison, kind)
    if full or "code" not in [part.part for part in comparison.swapped]:
        return fields
    return [field for field in fields if not _CODE_OR_COMMIT.match(field.path)]


def _swapped(comparison: Comparison) -> List[str]:
    title = ["swapped on purpose (a | b):"] if comparison.swapped else []
    return title + [f"  {part.text}" for part in comparison.swapped]


def _sentence(text: str, comparison: Comparison, full: bool) -> str:
    """The path of a run, with which it may begin, stays as it is."""
    if full:
        return text
    begins = [path for path in (comparison.a, comparison.b) if path and text.startswith(path)]
    path = max(begins, key=len, default="")
    return path + shortened(text[len(path) :])


def _fields(
    title: str, differences: List[FieldDifference], code: List[FileDifference], full: bool
) -> List[str]:
    fields = [item for item in differences if not (code and _CODE.match(item.path))]
    texts = [f"  {item.path}: {shown_pair(item.a, item.b, full=full)}" for item in fields]
    if not full:
        texts = [*texts[:SHOWN], *([f"  and {len(texts) - SHOWN} more"] if texts[SHOWN:] else [])]
    if code:
        texts.append(f"  code: {_named([item.name for item in code], full)}")
    return [f"{title} (a | b):", *texts] if texts else []


def _named(names: List[str], full: bool) -> str:
    count = f"{len(names)} file{'s' * (len(names) != 1)}: "
    shown = names if full else names[:NAMED]
    more = len(names) - len(shown)
    return count + ", ".join(shown) + (f" and {more} more" if more else "")


def _diffs(code: List[FileDifference], full: bool) -> List[str]:
    """Files that both have come first: what changed in them says more than a whole new file."""
    ordered = code if full else sorted(code, key=lambda item: item.only_in is not None)
    texts = [_visible(line) for item in ordered for line in _shown(item, full)]
    if not texts:
        return []
    more = 0 if full else len(texts) - DIFF_LINES
    shown = texts if more <= 0 else texts[:DIFF_LINES]
    return [
        "code that differs (- a, + b):",
        *shown,
        *([f"and {more} more lines; --full prints all"] if more > 0 else []),
    ]


def _visible(line: str) -> str:
    """What would act on a terminal, or not show there, as escapes; tabs stay."""
    return "\t".join(map(printable, line.split("\t")))


def _shown(item: FileDifference, full: bool) -> List[str]:
    if full or item.only_in is None or len(item.diff) <= SHORT_FILE:
        return item.diff
    return [f"{item.name}: only in {item.only_in}, {len(item.diff) - HEAD} lines"]
