"""The steps of `data crop`: look through the originals, refuse, make what is missing.

The stored image of an original has its path, with the suffix ``.jpg`` where the original's is none
of a JPEG file.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from container.atomic import prepared
from container.progress import Progress
from container.trouble import Trouble
from manifests.datasets.centre_crop import settings
from manifests.datasets.crop_file import Outcome, bring_up_to_date
from manifests.datasets.crop_folder import OWN, refuse_foreign, refuse_nesting, working_in
from manifests.datasets.shown import capped
from manifests.datasets.tree import TreeFolder, below, walk
from manifests.datasets.workers import spread

_JPEG = ("jpeg", "jpg")
_OTHERS = ("bmp", "gif", "png", "tif", "tiff", "webp")

#: Images that a worker takes at a time: some hundredths of a second of work.
_CHUNK = 32


@dataclass
class Cropped:
    """``unusable`` are the problems of originals, one line each; ``no_images`` files whose suffix
    is none of an image; ``strays`` files of the target that belong to no original."""

    source: str
    target: str
    settings: Dict[str, Any]
    dry_run: bool
    made: int = 0
    kept: int = 0
    unusable: List[str] = field(default_factory=list)
    no_images: List[str] = field(default_factory=list)
    strays: List[str] = field(default_factory=list)

    def values(self) -> Dict[str, Any]:
        return asdict(self)

    def lines(self) -> List[str]:
        did = "would make" if self.dry_run else "made"
        unusable = f", unusable originals {len(self.unusable)}" if self.unusable else ""
        lines = [f"{self.target}: {did} {self.made}, up to date {self.kept}{unusable}"]
        for what, names in (
            ("passed over, no images by their names", self.no_images),
            (f"in {self.target} without an original", self.strays),
        ):
            if names:
                shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
                lines.append(f"{what}: {len(names)} ({shown})")
        return lines

    def refuse_unusable(self) -> None:
        if self.unusable:
            raise Trouble(
                capped(self.unusable, self.source),
                "repair these originals or take them away, then run the same command again; the "
                "others need nothing more",
            )


def stored_name(name: str) -> str:
    """``a.JPEG`` stays, ``a.png`` becomes ``a.jpg``; empty where the suffix is not an image's."""
    stem, _, suffix = name.rpartition(".")
    if stem and suffix.lower() in _JPEG:
        return name
    return f"{stem}.jpg" if stem and suffix.lower() in _OTHERS else ""


def _refuse_clashes(source: Path, folders: List[TreeFolder]) -> None:
    problems = []
    for folder in folders:
        taken: Dict[str, str] = {}
        for name in folder.names:
            stored = stored_name(name)
            if stored and taken.setdefault(stored, name) != name:
                first, second = (below(folder.path, each) for each in (taken[stored], name))
                problems.append(f"{source}: {first} and {second} would both become {stored}")
    if problems:
        raise Trouble(capped(problems, str(source)), "rename one of each two")


@dataclass(frozen=True)
class _Work:
    source: str
    target: str
    scratch: Optional[str]


_Chunk = Tuple[str, List[str]]  # a folder, and names in it
_Report = Tuple[int, int, List[str]]  # made, kept, problems


def _chunks(folders: List[TreeFolder]) -> Iterator[_Chunk]:
    for folder in folders:
        names = [name for name in folder.names if stored_name(name)]
        for start in range(0, len(names), _CHUNK):
            yield folder.path, names[start : start + _CHUNK]


def _do(work: _Work, chunk: _Chunk) -> _Report:
    path, names = chunk
    folder = Path(work.target, path)
    if work.scratch is not None:
        if folder.resolve() != Path(work.target).resolve() / path:
            raise Trouble(
                f"{folder}: is reached through a link; only {work.target} itself is written into",
                "put a folder in the place of the link",
            )
        folder.mkdir(parents=True, exist_ok=True)
    made, kept, problems = 0, 0, []
    for name in names:
        original = f"{work.source}/{below(path, name)}"
        outcome, problem = bring_up_to_date(original, f"{folder}/{stored_name(name)}", work.scratch)
        made += outcome is Outcome.MADE
        kept += outcome is Outcome.KEPT
        if outcome is Outcome.UNUSABLE:
            problems.append(f"{original}: {problem}")
    return made, kept, problems


def _strays(target: Path, folders: List[TreeFolder]) -> List[str]:
    by_path = {folder.path: folder for folder in folders}
    found: List[str] = []
    for folder in walk(target)[0]:
        names = by_path[folder.path].names if folder.path in by_path else []
        expected = set(map(stored_name, names))
        found += [below(folder.path, name) for name in folder.names if name not in expected]
    return found


def crop(
    source: Path,
    target: Path,
    *,
    progress: Progress,
    workers: Optional[int] = None,
    dry_run: bool = False,
) -> Cropped:
    """Make the stored image of every original below ``source`` that is missing or out of date.

    Whatever ends it, each stored image is whole or absent, and a later call goes on. Raises
    Trouble, before anything is written, when a folder lies in the other, when the target holds
    something else or images made with other settings, and when two originals would get one name.
    Originals that cannot be used are named in the value.
    """
    refuse_nesting(source, target)
    done = Cropped(str(source), str(target), settings(), dry_run)
    refuse_foreign(target, done.settings)
    outputs = [] if dry_run else [target / OWN / "settings.json"]
    with prepared(*outputs, next_step="choose another folder"):
        _crop(done, source, target, progress, workers)
    return done


def _originals(done: Cropped, source: Path) -> Tuple[List[TreeFolder], int]:
    """The folders of the originals, and how many there are; other files are named in ``done``."""
    folders, done.unusable = walk(source)
    images = 0
    for folder in folders:
        for name in folder.names:
            if stored_name(name):
                images += 1
            else:
                done.no_images.append(below(folder.path, name))
    if not images and not done.unusable:
        raise Trouble(f"{source}: holds no images", "name the folder of the original images")
    _refuse_clashes(source, folders)
    return folders, images


def _crop(
    done: Cropped, source: Path, target: Path, progress: Progress, workers: Optional[int]
) -> None:
    progress.stage(f"look through {source}")
    folders, images = _originals(done, source)

    def go(scratch: Optional[str]) -> None:
        work = _Work(str(source), str(target), scratch)
        title = "look for what is missing" if done.dry_run else f"crop to {target}"
        reports = spread(partial(_do, work), _chunks(folders), workers=workers)
        with progress.track(title, images, "images") as advance, closing(reports):
            for made, kept, problems in reports:
                done.made += made
                done.kept += kept
                done.unusable += problems
                advance(made + kept + len(problems))

    if done.dry_run:
        go(None)
    else:
        try:
            with working_in(target, done.settings) as scratch:
                go(str(scratch))
        except OSError as error:
            raise Trouble(
                f"{error.filename or target}: cannot be written: {error.strerror}",
                "see to the file system or choose another folder; what was made is kept, and the "
                "same command goes on from there",
            ) from error
    if target.exists():
        done.strays = _strays(target, folders)
