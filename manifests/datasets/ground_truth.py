"""ILSVRC's validation set -> a list: numbered images, and one line of ground truth for each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Tuple

from container.trouble import Trouble
from manifests.datasets.class_tree import LabelledPath, image_tree, is_image
from manifests.datasets.names import Twins, printable
from manifests.datasets.shown import capped
from manifests.datasets.text_file import scan_lines
from manifests.datasets.tree import below

NEXT_STEP = "give ground truth, images and classes of one data set; docs/data.md has an example"

#: ``ILSVRC2012_val_00000017.JPEG`` is image 17.
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def samples_of_ground_truth(
    root: Path, ground_truth: Path, synsets: Dict[int, str], classes: List[str], classes_file: Path
) -> List[LabelledPath]:
    """Every image below ``root`` with its label, by number: image N has the class of line N.

    Raises Trouble with the problems of the ground truth, of the images, and of the classes.
    """
    numbers, problems = _lines(ground_truth, len(synsets))
    if not numbers:
        raise Trouble(problems, NEXT_STEP)
    images, image_problems = _numbered_images(root, len(numbers), ground_truth)
    problems += image_problems
    labels = {name: label for label, name in enumerate(classes)}
    used = {synsets[number] for number in numbers if number in synsets}
    known = Twins(classes)
    problems += [
        f"{printable(name)}: is not a class of {classes_file}{known.note(name)}"
        for name in sorted(used - set(labels))
    ]
    if problems:
        raise Trouble(problems, NEXT_STEP)
    return [(images[at], labels[synsets[number]]) for at, number in enumerate(numbers, start=1)]


def _lines(ground_truth: Path, count: int) -> Tuple[List[int], List[str]]:
    where = str(ground_truth)
    lines, problems = scan_lines(ground_truth)
    numbers: List[int] = []
    if not lines and not problems:
        problems = [f"{where}: is empty"]
    for at, line in enumerate(lines, start=1):
        word = line.strip()
        if not (word.isascii() and word.isdigit() and 1 <= int(word[:9]) <= count):
            problems.append(
                f"{where}, line {at}: '{printable(word)[:40]}' is not a class number "
                f"from 1 to {count}"
            )
            numbers.append(0)
        else:
            numbers.append(int(word))
    return numbers, capped(problems, where)


def _numbered_images(
    root: Path, count: int, ground_truth: Path
) -> Tuple[Dict[int, str], List[str]]:
    folders, problems = image_tree(root)
    images: Dict[int, str] = {}
    for folder in folders:
        for name in filter(is_image, folder.names):
            path = below(folder.path, name)
            found = _LAST_NUMBER.search(Path(name).stem)
            number = int(found[1]) if found else 0
            if found is None:
                problems.append(f"{root}/{path}: has no number in its name")
            elif not 1 <= number <= count:
                problems.append(
                    f"{root}/{path}: has number {number}, {ground_truth} has {count} lines"
                )
            elif number in images:
                problems.append(f"{root}: {images[number]} and {path} both have number {number}")
            else:
                images[number] = path
    missing = [number for number in range(1, count + 1) if number not in images]
    problems += [
        f"{root}: no image has number {number}, that of a line of {ground_truth}"
        for number in missing
    ]
    return images, capped(problems, str(root))
