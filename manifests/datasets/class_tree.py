"""A folder tree -> a list: the first level of folders are the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Tuple

from container.trouble import Trouble
from manifests.datasets.names import Twins, printable
from manifests.datasets.shown import capped
from manifests.datasets.tree import TreeFolder, below, is_passed_over, walk

#: Names of files that the trainer can read.
SUFFIXES = (".jpeg", ".jpg", ".png")

LabelledPath = Tuple[str, int]  # path relative to the root, label


def image_tree(root: Path) -> Tuple[List[TreeFolder], List[str]]:
    """The folders below ``root`` with files, and problems. Raises Trouble without a root."""
    if not root.is_dir():
        raise Trouble(f"{root}: is not a folder", "name the folder of the stored images")
    return walk(root)


def is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def class_folders(root: Path) -> List[str]:
    """Names of the folders that are classes, sorted."""
    if not root.is_dir():
        return []
    return sorted(
        path.name for path in root.iterdir() if path.is_dir() and not is_passed_over(path.name)
    )


def _folder_of(output: Path, root: Path) -> str:
    """The first folder below ``root`` on the way to a file; "" where it lies elsewhere."""
    folder, top = output.resolve().parent, root.resolve()
    return folder.relative_to(top).parts[0] if top in folder.parents else ""


def samples_of_tree(
    root: Path, classes: Optional[List[str]], classes_file: Path, output: Optional[Path] = None
) -> Tuple[List[LabelledPath], List[str]]:
    """Every image below a class folder with its label, sorted by path, and the classes.

    ``classes`` None takes the folders by sorted name; that in which ``output`` is to lie only where
    it has images. Raises Trouble with all of these: images in no class folder, classes without an
    image, folders that are no class of ``classes_file``, and names that a list cannot hold.
    """
    folders, problems = image_tree(root)
    present = class_folders(root)
    own = "" if output is None else _folder_of(output, root)
    if own and not any(
        folder.path.partition("/")[0] == own and any(map(is_image, folder.names))
        for folder in folders
    ):
        present = [name for name in present if name != own]
    names = present if classes is None else classes
    labels: Dict[str, int] = {name: label for label, name in enumerate(names)}
    samples: List[LabelledPath] = []
    known, found = Twins(names), Twins(present)
    problems += [
        f"{root}/{printable(name)}: is not a class of {classes_file}{known.note(name)}"
        for name in present
        if name not in labels
    ]
    filled = set()
    for folder in folders:
        images = [name for name in folder.names if is_image(name)]
        if not folder.path:
            problems += [f"{root}/{printable(name)}: lies in no class folder" for name in images]
            continue
        label = labels.get(folder.path.partition("/")[0])
        if label is not None and images:
            filled.add(label)
            samples += [(below(folder.path, name), label) for name in images]
    problems += [
        f"{root}/{printable(name)}: class {label} has no image{found.note(name)}"
        for name, label in labels.items()
        if label not in filled
    ]
    if not names:
        problems.append(f"{root}: holds no class folders")
    if problems:
        raise Trouble(
            capped(problems, str(root)),
            "give a folder that holds one folder of images per class, the same as the classes file",
        )
    return samples, names
