"""The steps of `data list`: classes, then samples, then the list file.

A classes file ties the labels of several lists together: the first list made in a folder writes
it, the others follow it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from container.atomic import prepared, write_bytes
from container.trouble import Trouble
from manifests.datasets.class_tree import LabelledPath, samples_of_tree
from manifests.datasets.classes import (
    DEFAULT_NAME,
    number_warnings,
    read_classes,
    write_classes,
)
from manifests.datasets.ground_truth import samples_of_ground_truth
from manifests.datasets.list_file import render_list
from manifests.datasets.synsets import read_synsets


@dataclass(frozen=True)
class Listed:
    """``fewest`` and ``most`` are samples of one class; ``root`` is what the paths start from."""

    list: str
    root: str
    samples: int
    classes: int
    fewest: int
    most: int
    classes_file: str
    sha256: str
    warnings: List[str]

    def values(self) -> Dict[str, Any]:
        return asdict(self)

    def lines(self) -> List[str]:
        return [
            f"{self.list}: {self.samples} samples of {self.classes} classes, "
            f"{self.fewest} to {self.most} each",
            f"its paths start from {self.root}; its labels are the lines of {self.classes_file}",
        ]


def list_tree(root: Path, output: Path, classes_file: Optional[Path]) -> Listed:
    """List the images of a tree whose first level are the classes.

    The labels are those of the classes file: ``classes_file``, which must be there, or the one
    beside the output. Where there is none, they follow the sorted names, and it is written.
    Raises Trouble and writes nothing when tree and classes do not fit each other.
    """
    path, classes = _classes_for(output, classes_file)
    with prepared(output, *([path] if classes is None else [])):
        samples, names = samples_of_tree(root, classes, path, output)
        if classes is None:
            write_classes(path, names)
        warnings = number_warnings(str(root), enumerate(names))
        return _write(output, root, samples, len(names), path, warnings)


def list_ground_truth(
    root: Path, ground_truth: Path, synsets: Path, output: Path, classes_file: Optional[Path]
) -> Listed:
    """List numbered images by ILSVRC's ground truth. Raises Trouble and writes nothing when the
    classes of the training list are not known, or one of the files does not fit the others."""
    path, classes = _classes_for(output, classes_file)
    if classes is None:
        raise Trouble(
            f"{path}: does not exist, so that the labels of the training list are not known",
            "make the training list first, in the same folder, or name its classes file by "
            "--classes",
        )
    numbers = read_synsets(synsets)
    with prepared(output):
        samples = samples_of_ground_truth(root, ground_truth, numbers, classes, path)
        return _write(output, root, samples, len(classes), path, [])


def _classes_for(output: Path, given: Optional[Path]) -> Tuple[Path, Optional[List[str]]]:
    if given is not None:
        return given, read_classes(given)
    path = output.parent / DEFAULT_NAME
    if path == output:
        raise Trouble(f"{output}: is the name of the classes file", "name the list otherwise")
    return path, read_classes(path) if path.exists() else None


def _write(
    output: Path,
    root: Path,
    samples: List[LabelledPath],
    classes: int,
    classes_file: Path,
    warnings: List[str],
) -> Listed:
    data = render_list(samples)
    write_bytes(output, data)
    counts = Counter(label for _, label in samples)
    each = [counts[label] for label in range(classes)]
    return Listed(
        list=str(output),
        root=str(root),
        samples=len(samples),
        classes=classes,
        fewest=min(each),
        most=max(each),
        classes_file=str(classes_file),
        sha256=hashlib.sha256(data).hexdigest(),
        warnings=warnings,
    )
