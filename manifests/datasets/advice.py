"""What to do about images that cannot be used: the step that fits most of what is wrong"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Iterator, List, Optional

from container.shell_word import shell_word
from manifests.datasets.image_folder import link_advice
from manifests.datasets.list_file import SampleList
from manifests.datasets.names import printable

REPAIR = "repair these images or take them out of the list"

_GONE = " does not exist"
_UNCROPPED = "pixels, expected 256x256"

#: Looked for below another root: so many paths of a list, below so many folders.
_PATHS = 10
_FOLDERS = 200


def image_advice(
    problems: List[str], samples: SampleList, root: Path, option: str, otherwise: str = REPAIR
) -> str:
    """``option`` is how the root is named there: ``--root``, or ``train_root:`` in a config."""
    links = link_advice(problems)
    if links:
        return links
    if _most(problems, _GONE):
        elsewhere = other_root(samples, root)
        if elsewhere is not None:
            return f"they lie below {elsewhere}: add `{option} {elsewhere}`"
    if _most(problems, _UNCROPPED):
        folder = printable(str(root))
        return (
            "make images of that size, which the trainer reads: "
            f"python bundle.py data crop {shell_word(folder)} STORED; then name STORED as root"
        )
    return otherwise


def _most(problems: List[str], end: str) -> bool:
    return 2 * sum(problem.endswith(end) for problem in problems) > len(problems) > 0


def other_root(samples: SampleList, root: Path) -> Optional[Path]:
    """A folder near ``root`` or the list below which paths of the list are files; where there are
    several, that of the list's own name: validation images may be called as training images."""
    paths = samples.paths[:: max(1, len(samples.paths) // _PATHS)]
    found = [
        folder
        for folder in islice(_near(root, Path(samples.where).parent), _FOLDERS)
        if all((folder / path).is_file() for path in paths)
    ]
    named = [folder for folder in found if folder.name == Path(samples.where).stem]
    return next(iter([*named, *found]), None)


def _near(root: Path, beside: Path) -> Iterator[Path]:
    for folder in dict.fromkeys((root, beside, root.parent)):
        yield folder
        try:
            below = sorted(path for path in folder.iterdir() if path.is_dir())
        except OSError:
            continue
        yield from below
