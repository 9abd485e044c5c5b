"""The steps of `data check`: all that `submit` would find wrong with a list, and what is odd.

A problem is what `submit` refuses. A warning is what it takes and a person may not have meant.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from container.progress import Progress
from container.trouble import Trouble
from manifests.datasets.advice import image_advice
from manifests.datasets.cache_folder import CacheFolder
from manifests.datasets.classes import number_warnings
from manifests.datasets.fingerprint import Fingerprint, scan_images
from manifests.datasets.list_file import SampleList, scan_list
from manifests.datasets.mean import scan_mean
from manifests.datasets.names import printable
from manifests.datasets.shown import capped
from manifests.datasets.table import parse_table


@dataclass(frozen=True)
class CheckedList:
    """``fewest`` and ``most`` are samples of one class, empty ones not counted. ``sha256`` is that
    of the table a manifest would record, "" where there are problems. Problems and warnings come by
    kind."""

    list: str
    root: str
    samples: int
    nclasses: int
    fewest: int
    most: int
    sha256: str
    problems: List[List[str]]
    warnings: List[List[str]]
    advice: str

    @property
    def good(self) -> bool:
        return not any(self.problems)

    def values(self) -> Dict[str, Any]:
        """For JSON: every problem and warning."""
        flat = {
            name: [text for kind in getattr(self, name) for text in kind]
            for name in ("problems", "warnings")
        }
        return {**vars(self), **flat, "good": self.good}

    def shown(self, kinds: List[List[str]]) -> List[str]:
        """For people: 20 of each kind."""
        return [text for kind in kinds for text in capped(kind, self.list)]

    def lines(self) -> List[str]:
        count = sum(map(len, self.problems))
        return [
            f"{self.list}: {self.samples} samples of {self.nclasses} classes, "
            f"{self.fewest} to {self.most} each",
            *self.shown(self.problems),
            f"problems: {count}"
            if count
            else f"good: nothing that submit would refuse; sha256 {self.sha256}",
            *([f"-> {self.advice}"] if self.advice else []),
        ]


def check(
    list_file: Path,
    root: Path,
    *,
    nclasses: Optional[int],
    mean: Optional[Path],
    cache_folder: Optional[CacheFolder],
    progress: Progress,
    validation: bool = False,
    workers: Optional[int] = None,
) -> CheckedList:
    """Read a list, its images and a mean image as `submit` does; nothing is changed.

    ``nclasses`` None lets the highest label say how many classes there are. A class without a
    sample is a problem in a training list, and a warning in a ``validation`` list. Raises Trouble
    when the list file is not there at all.
    """
    if not list_file.is_file():
        raise Trouble(f"{list_file}: is not a file", "name a list file of `<path> <label>` lines")
    samples, list_problems = scan_list(list_file, root=root, nclasses=nclasses)
    mean_image, mean_problems = (None, []) if mean is None else scan_mean(mean)
    mean_warnings = [] if mean_image is None else mean_image.warnings
    found: Optional[Fingerprint] = None
    image_problems: List[str] = []
    if samples.paths:
        found, image_problems = scan_images(
            samples, root, cache_folder=cache_folder, progress=progress, workers=workers
        )
    counts = Counter(samples.labels)
    empty_classes = samples.warnings
    problems = [list_problems, mean_problems, image_problems]
    if not validation:
        problems[0] = [*list_problems, *empty_classes]
    return CheckedList(
        list=str(list_file),
        root=str(root),
        samples=len(samples.paths),
        nclasses=max(counts, default=-1) + 1 if nclasses is None else nclasses,
        fewest=min(counts.values(), default=0),
        most=max(counts.values(), default=0),
        sha256="" if found is None or any(problems) else found.identity.sha256,
        problems=problems,
        warnings=[
            empty_classes if validation else [],
            mean_warnings,
            _other_numbers(samples),
            _same_paths(samples),
            [] if found is None else _same_images(samples, found),
            [] if found is None else found.warnings,
        ],
        advice=image_advice(image_problems, samples, root, "--root", ""),
    )


def _repeated(keys: Sequence[str]) -> Iterator[Tuple[int, int]]:
    """The place of each key that was there before, with the place where it came first."""
    first: Dict[str, int] = {}
    for place, key in enumerate(keys):
        earlier = first.setdefault(key, place)
        if earlier != place:
            yield earlier, place


def _plain(path: str) -> str:
    """The same for ``./a//b.jpg`` and ``a/b.jpg``: `find .` writes the former."""
    return (
        posixpath.normpath(path) if path.startswith("./") or "//" in path or "/./" in path else path
    )


def _labels(samples: SampleList, first: int, second: int) -> str:
    one, other = samples.labels[first], samples.labels[second]
    return "" if one == other else f", with the labels {one} and {other}"


def _other_numbers(samples: SampleList) -> List[str]:
    """Classes in folders whose names are numbers, but not those of the labels."""
    classes = {
        (label, path.partition("/")[0])
        for path, label in zip(map(_plain, samples.paths), samples.labels)
        if "/" in path
    }
    return number_warnings(samples.where, sorted(classes))


def _same_paths(samples: SampleList) -> List[str]:
    return [
        f"{samples.where}: {printable(samples.paths[first])} stands in lines "
        f"{samples.lines[first]} and {samples.lines[second]}{_labels(samples, first, second)}"
        for first, second in _repeated(list(map(_plain, samples.paths)))
    ]


def _same_images(samples: SampleList, found: Fingerprint) -> List[str]:
    digests, paths, _ = parse_table(found.table, samples.where)
    return [
        f"{samples.where}: {printable(paths[first])} (line {samples.lines[first]}) and "
        f"{printable(paths[second])} "
        f"(line {samples.lines[second]}) are the same image{_labels(samples, first, second)}"
        for first, second in _repeated(digests)
        if _plain(paths[first]) != _plain(paths[second])
    ]
