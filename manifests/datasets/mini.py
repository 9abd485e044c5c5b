"""The steps of `data mini`: a list of few classes chosen from one of many, and its record.

The record, ``<list>.json``, says from what was chosen and how, and which label became which: the
validation list is chosen by the record of the training list.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from container.atomic import prepared, write_bytes, write_json
from container.faults import faults_of
from container.trouble import Trouble
from manifests.datasets.choice import FORMULA, chosen_classes, chosen_samples
from manifests.datasets.list_file import SampleList, read_list, render_list
from manifests.datasets.shown import capped


class ListFile(BaseModel):
    """A list file by its name, without folder, and sha256."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    sha256: str


class Choice(BaseModel):
    """``classes[new label]`` is the label in the source list; ``per_class`` None keeps all."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = Field(default=1, ge=1, le=1)
    formula: str
    source: ListFile
    result: ListFile
    seed: int = Field(ge=0, lt=2**63)
    per_class: Optional[int] = Field(default=None, ge=1)
    classes: List[int] = Field(min_length=1)


@dataclass(frozen=True)
class Mini:
    list: str
    record: str
    samples: int
    choice: Choice

    def values(self) -> Dict[str, Any]:
        return {
            "list": self.list,
            "record": self.record,
            "samples": self.samples,
            "choice": self.choice.model_dump(mode="json"),
        }

    def lines(self) -> List[str]:
        return [
            f"{self.list}: {self.samples} samples of {len(self.choice.classes)} classes "
            f"of {self.choice.source.name}",
            f"{self.record}: the choice; the validation list follows it by --choice",
        ]


def read_choice(path: Path) -> Choice:
    """Raises Trouble when the file is not a record of a choice."""
    next_step = "give the .json file that `data mini` wrote beside the training list"
    try:
        return Choice.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Trouble(f"{path}: cannot be read: {error.strerror}", next_step) from error
    except ValidationError as error:
        raise Trouble(faults_of(error, str(path)), next_step) from error


def choose(
    source: Path,
    output: Path,
    *,
    root: Path,
    classes: int,
    seed: int,
    per_class: Optional[int],
) -> Mini:
    """Write the list of ``classes`` classes, chosen by ``seed``, and its record.

    The new labels count from 0 in the order of the old ones. The same source, numbers and seed give
    the same bytes. Raises Trouble, and writes nothing, when the source has too few classes or
    samples.
    """
    samples = _read(source, output, root)
    labels = set(samples.labels)
    if len(labels) < classes:
        raise Trouble(
            f"{source}: has samples of {len(labels)} classes, fewer than {classes}",
            "ask for fewer classes",
        )
    chosen = chosen_classes(seed, labels, classes)
    return _write(samples, source, output, chosen, seed, per_class)


def choose_alike(
    source: Path, output: Path, *, root: Path, record: Path, per_class: Optional[int]
) -> Mini:
    """Write the samples of the classes that another list's choice took, with the same labels.

    Raises Trouble, and writes nothing, when one of these classes has too few samples.
    """
    choice = read_choice(record)
    samples = _read(source, output, root)
    return _write(samples, source, output, choice.classes, choice.seed, per_class)


def _record_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.json")


def _read(source: Path, output: Path, root: Path) -> SampleList:
    for path in (output, _record_of(output)):
        if path.resolve() == source.resolve():
            raise Trouble(f"{path}: is the list that is chosen from", "name another output")
    return read_list(source, root=root)


def _write(
    samples: SampleList,
    source: Path,
    output: Path,
    classes: List[int],
    seed: int,
    per_class: Optional[int],
) -> Mini:
    kept = _kept(samples, classes, seed, per_class)
    data = render_list(kept)
    choice = Choice(
        formula=FORMULA,
        source=ListFile(name=source.name, sha256=_sha256(source)),
        result=ListFile(name=output.name, sha256=hashlib.sha256(data).hexdigest()),
        seed=seed,
        per_class=per_class,
        classes=classes,
    )
    record = _record_of(output)
    with prepared(output, record):
        write_json(record, choice.model_dump(mode="json"))
        write_bytes(output, data)
    return Mini(str(output), str(record), len(kept), choice)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _kept(
    samples: SampleList, classes: List[int], seed: int, per_class: Optional[int]
) -> List[Tuple[str, int]]:
    """The samples that stay, in the order of the list, with their new labels."""
    places: Dict[int, List[int]] = {label: [] for label in classes}
    for place, label in enumerate(samples.labels):
        if label in places:
            places[label].append(place)
    wanted = per_class or 1
    problems = [
        f"{samples.where}: class {label} has {len(found)} samples, fewer than {wanted}"
        for label, found in places.items()
        if len(found) < wanted
    ]
    if problems:
        raise Trouble(
            capped(problems, samples.where), "ask for fewer per class, or give the whole list"
        )
    new = {label: number for number, label in enumerate(classes)}
    kept: List[Tuple[int, int]] = []
    for label, found in places.items():
        if per_class is not None:
            found = [found[at] for at in chosen_samples(seed, label, len(found), per_class)]
        kept += [(place, new[label]) for place in found]
    return [(samples.paths[place], label) for place, label in sorted(kept)]
