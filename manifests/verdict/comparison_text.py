"""The text of a comparison: the verdict first, code as a diff, values short unless all is wanted"""

from __future__ import annotations

import re
from typing import List, Sequence

from container.trouble import SHOWN, first_of
from manifests.verdict.code_difference import FileDifference
from manifests.verdict.comparison import Comparison, FieldDifference
from manifests.verdict.short_values import shortened, shown_pair

#: Lines of diffs that are printed where not all are wanted.
DIFF_LINES = 100
#: Files that are named in a line.
NAMED = 6

_CODE = re.compile(r"(?:code|other_code)(?:$|\.)")


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
        f"verdict: {comparison.verdict}",
        *names,
        *(f"  - {sentence}" for sentence in (evidence if full else first_of(evidence))),
        *_fields("inputs that differ", comparison.suspects, executed, full),
        *_fields("metadata that differs", comparison.circumstances, others, full),
        *_diffs(shown, full),
        *([f"-> {comparison.next_step}"] if comparison.next_step else []),
    ]


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
    texts = [line for item in code for line in item.diff]
    if not texts:
        return []
    more = 0 if full else len(texts) - DIFF_LINES
    shown = texts if more <= 0 else texts[:DIFF_LINES]
    return [
        "code that differs (- a, + b):",
        *shown,
        *([f"and {more} more lines; --full prints all"] if more > 0 else []),
    ]
