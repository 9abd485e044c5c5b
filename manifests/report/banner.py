"""The verdict at the head of a page: one word, one sentence, and what it rests on (pure)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

from manifests.report.reported import ReportedPair
from manifests.verdict.comparison import Comparison
from manifests.verdict.span import steps_text

#: The worst first: it stands at the head of a page of many runs.
ORDER = ("diverged", "inconclusive", "cannot-run", "identical")

WORDS = {
    "diverged": "Diverged",
    "inconclusive": "Inconclusive",
    "cannot-run": "Cannot run",
    "identical": "Identical",
    "alone": "Not compared",
}

#: Verdict -> what it says of ``{runs}`` (a letter, or "2 of 3 runs") and the first run, in all
#: steps or ``{where}``.
SENTENCES = {
    "diverged": "{runs} gave other bits than run A{where}.",
    "inconclusive": "nothing can be concluded of {runs}{where}.",
    "cannot-run": "{runs} could not repeat run A{where}.",
    "identical": "{runs} gave the same bits as run A{where}.",
}

#: Sentences of evidence at the head; the section on differences has all.
SHOWN = 3


@dataclass(frozen=True)
class Banner:
    """``verdict`` is a verdict's word, or ``alone`` where a page has one run and no verdict."""

    verdict: str
    headline: str
    sentences: List[str]

    @property
    def word(self) -> str:
        return WORDS[self.verdict]


def banner_of(pairs: Sequence[ReportedPair]) -> Banner:
    """Of the first run against each other one."""
    by_verdict: Dict[str, List[ReportedPair]] = {name: [] for name in ORDER}
    for pair in pairs:
        by_verdict[pair.comparison.verdict].append(pair)
    worst = next(name for name in ORDER if by_verdict[name])
    those = by_verdict[worst]
    named = f"run {those[0].other.letter}" if len(pairs) == 1 else _counted(those, pairs)
    sentences = [sentence for pair in those[:1] for sentence in pair.comparison.evidence[:SHOWN]]
    return Banner(
        worst,
        SENTENCES[worst].format(runs=named, where=_where(those)),
        [*sentences, *(text for pair in pairs for text in (*_swapped(pair), *_changed(pair)))],
    )


def banner_together(joint: Comparison, pairs: Sequence[ReportedPair]) -> Banner:
    """Of all slices of the first run together."""
    sentence = SENTENCES[joint.verdict]
    where = " in all steps" if joint.verdict == "identical" else ""
    return Banner(
        joint.verdict,
        sentence.format(runs=f"{len(pairs)} slices together", where=where),
        [*joint.evidence[:SHOWN], *(text for pair in pairs for text in _changed(pair))],
    )


def _counted(those: List[ReportedPair], pairs: Sequence[ReportedPair]) -> str:
    letters = ", ".join(pair.other.letter for pair in those)
    return f"{len(those)} of {len(pairs)} runs ({letters})"


def _where(those: List[ReportedPair]) -> str:
    """Nothing where whole runs were compared: of a slice no more is said than it shows."""
    claims = [pair.comparison.steps for pair in those]
    if not any(claims):
        return ""
    if len(claims) == 1 and claims[0] is not None:
        return f" in {steps_text(claims[0].after, claims[0].end)} of {claims[0].of}"
    return " in the steps that were compared"


def _swapped(pair: ReportedPair) -> List[str]:
    """Parts that were replaced on purpose, which of them are others than the recorded ones."""
    return [
        f"run {pair.other.letter} ran with another {part.part} on purpose: {part.text}"
        for part in pair.comparison.swapped
        if part.differs
    ]


def _changed(pair: ReportedPair) -> List[str]:
    """A verdict that was recorded once and is another one now."""
    if pair.recorded is None or pair.recorded.verdict == pair.comparison.verdict:
        return []
    return [
        f"verdict.json of run {pair.other.letter} says {pair.recorded.verdict}; "
        f"its files say {pair.comparison.verdict} now"
    ]


def banner_alone(original: Optional[str], recorded: Optional[Comparison]) -> Banner:
    """Of a page with one run: ``original`` is the run that it was to repeat, and is not here."""
    if recorded is None:
        return Banner(
            "alone",
            "no other run is on this page.",
            ["It does not say whether the bits can be had again: that needs a rerun."],
        )
    return Banner(
        recorded.verdict,
        f"this is the verdict that was recorded when run A was compared with {original}.",
        [f"{original} is not there any more: nothing was compared for this page."],
    )
