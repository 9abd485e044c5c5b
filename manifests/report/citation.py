"""A run in a paper: a paragraph for the text, and an entry for BibTeX (pure)"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List

from manifests.record.communicators import counted
from manifests.record.outcome import Result
from manifests.record.schema import Author, Manifest

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{letter: f"\\{letter}" for letter in "#$%&_{}"},
}  # fmt: skip


@dataclass(frozen=True)
class Cited:
    """``name`` is that of the run directory, ``identical`` counts reruns with that verdict, of
    ``judged`` that have one."""

    name: str
    manifest: Manifest
    result: Result
    identical: int = 0
    judged: int = 0

    @property
    def authors(self) -> List[Author]:
        return list(self.manifest.circumstance.authors or [])

    @property
    def day(self) -> str:
        """On which it ended: 2026-01-31."""
        return self.result.observed.finished[:10]


def latex(text: str) -> str:
    """``text`` as LaTeX shows it."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def title(cited: Cited) -> str:
    training = cited.manifest.identity.training
    return (
        f"Training run {cited.name}: {training.arch}, {counted(training.nclasses, 'class')}, "
        f"{counted(training.epochs, 'epoch')}"
    )


def paragraph(cited: Cited) -> str:
    """Sentences with everything that decides the bits, and the digests by which it is found."""
    identity, result = cited.manifest.identity, cited.result
    training, data, tool = identity.training, identity.data, cited.manifest.circumstance
    part = tool.slice
    steps = counted(result.steps, "step")
    if part is not None:
        steps = f"steps {part.after + 1} to {part.end} of {identity.steps}"
    sentences = [
        f"The network {training.arch} was trained on {data.train.samples} images of "
        f"{counted(training.nclasses, 'class')} ({data.val.samples} images for validation) for "
        f"{counted(training.epochs, 'epoch')} ({steps}) with {training.optimizer.name}, "
        f"{training.batchsize} images per rank on {counted(identity.world.ranks, 'rank')}, "
        f"{training.precision}, seed {training.seed}.",
        *_accuracy(result),
        f"The run {cited.name} was made with bundle {tool.tool_version} and can be repeated bit "
        f"for bit: settings, code, image and data have the digest (sha256) "
        f"{cited.manifest.identity_digest}, the container image has the sha256 "
        f"{identity.image.sha256}, and the final parameters have the digest "
        f"{result.digests.parameters}.",
        *([f"All recorded states and steps are bound by the root {result.root}."]
          if result.root else []),
        *_repeated(cited),
    ]  # fmt: skip
    return " ".join(sentences)


def _accuracy(result: Result) -> List[str]:
    found = result.metrics.get("validation/main/accuracy")
    top5 = result.metrics.get("validation/main/accuracy_top5")
    if found is None or found != found:
        return []
    more = f", {100 * top5:.2f} % among the five best" if top5 is not None and top5 == top5 else ""
    return [f"Its validation accuracy is {100 * found:.2f} %{more}."]


def _repeated(cited: Cited) -> List[str]:
    if not cited.judged:
        return []
    of = f" of {counted(cited.judged, 'rerun')}" if cited.judged != cited.identical else ""
    what = counted(cited.identical, "rerun") if not of else str(cited.identical)
    return [f"The same bits came out of {what}{of}."]


def bibtex(cited: Cited) -> str:
    year, month, _ = cited.day.split("-")
    license = cited.manifest.circumstance.license
    note = (
        f"Identity sha256 {cited.manifest.identity_digest}, parameters "
        f"{cited.result.digests.parameters}" + (f", licence {license}" if license else "")
    )
    fields = {
        "title": f"{{{{{latex(title(cited))}}}}}",
        "author": f"{{{' and '.join(map(_author, cited.authors))}}}",
        "year": f"{{{year}}}",
        "month": MONTHS[int(month) - 1],
        "howpublished": "{Training run, recorded with bundle "
        + latex(cited.manifest.circumstance.tool_version) + "}",
        "note": f"{{{latex(note)}}}",
    }  # fmt: skip
    if not cited.authors:
        del fields["author"]
        fields["key"] = f"{{{latex(cited.name)}}}"
    lines = [f"  {name:12} = {value}," for name, value in fields.items()]
    return "\n".join([f"@misc{{{_key(cited)},", *lines, "}"])


def _key(cited: Cited) -> str:
    """The characters that every BibTeX takes in a key."""
    return re.sub(r"[^A-Za-z0-9:.-]+", "-", cited.name).strip("-") or "run"


def _author(author: Author) -> str:
    """In braces where BibTeX would take one name apart."""
    whole = latex(author.name)
    return f"{{{whole}}}" if re.search(r",|\sand\s", author.name) else whole


def values(cited: Cited) -> Dict[str, object]:
    """For JSON."""
    return {
        "run": cited.name,
        "paragraph": paragraph(cited),
        "bibtex": bibtex(cited),
        "identical": cited.identical,
        "judged": cited.judged,
    }
