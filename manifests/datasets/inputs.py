"""All that a run reads besides its code: both sample sets and the mean image, checked at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional

from container.progress import Progress
from container.trouble import Trouble
from manifests.datasets.advice import image_advice
from manifests.datasets.cache_folder import CacheFolder
from manifests.datasets.fingerprint import Fingerprint, scan_images
from manifests.datasets.list_file import SampleList, scan_list
from manifests.datasets.mean import MeanImage, scan_mean
from manifests.datasets.shown import capped

if TYPE_CHECKING:
    from manifests.datasets.packed_images import Packs
    from manifests.record.packed_file import Decoder


@dataclass(frozen=True)
class Lists:
    """What is known before any image is read."""

    train: SampleList
    val: SampleList
    mean: MeanImage

    @property
    def warnings(self) -> List[str]:
        return [*self.mean.warnings, *self.val.warnings]


@dataclass(frozen=True)
class Fingerprints:
    train: Fingerprint
    val: Fingerprint

    @property
    def warnings(self) -> List[str]:
        return list(dict.fromkeys([*self.train.warnings, *self.val.warnings]))


def read_lists(
    *, train: Path, train_root: Path, val: Path, val_root: Path, mean: Path, nclasses: int
) -> Lists:
    """Read both list files and the mean image. Raises Trouble with the problems of all three.

    A class without a validation sample is a warning, one without a training sample a problem: its
    output would learn nothing but never to answer, most often because labels count from 1 or
    nclasses is another set's.
    """
    train_list, problems = scan_list(train, root=train_root, nclasses=nclasses)
    problems = [*problems, *train_list.warnings]
    val_list, val_problems = scan_list(val, root=val_root, nclasses=nclasses)
    mean_image, mean_problems = scan_mean(mean)
    problems = [
        *capped(problems, str(train)),
        *capped(val_problems, str(val)),
        *mean_problems,
    ]
    if problems or mean_image is None:
        raise Trouble(
            problems,
            "correct these files or nclasses; docs/configuration.md says what they must hold",
        )
    return Lists(train_list, val_list, mean_image)


def next_step(
    lists: Lists, train: List[str], train_root: Path, val: List[str], val_root: Path
) -> str:
    """How to go on where images of either set cannot be used."""
    steps = [
        image_advice(problems, samples, root, key)
        for problems, samples, root, key in (
            (train, lists.train, train_root, "train_root:"),
            (val, lists.val, val_root, "val_root:"),
        )
        if problems
    ]
    return "\n-> ".join(dict.fromkeys(steps))


def read_images(
    lists: Lists,
    *,
    train_root: Path,
    val_root: Path,
    cache_folder: Optional[CacheFolder],
    progress: Progress,
    workers: Optional[int] = None,
) -> Fingerprints:
    """Fingerprint both sample sets. Raises Trouble with the unusable images of both, of which 20
    each are shown."""
    train, problems = scan_images(
        lists.train, train_root, cache_folder=cache_folder, progress=progress, workers=workers
    )
    val, val_problems = scan_images(
        lists.val, val_root, cache_folder=cache_folder, progress=progress, workers=workers
    )
    if train is None or val is None:
        raise Trouble(
            [*capped(problems, lists.train.where), *capped(val_problems, lists.val.where)],
            next_step(lists, problems, train_root, val_problems, val_root),
        )
    return Fingerprints(train, val)


def read_packs(lists: Lists, packs: Packs, *, decoder: Decoder) -> Fingerprints:
    """Fingerprint both sample sets by what their packed files say of the images.

    Raises Trouble when a packed file is damaged, made of other images than its list names, or made
    by another decoder than ``decoder``, with the problems of both.
    """
    from manifests.datasets.packed_images import NEXT_STEP, scan_pack

    train, problems = scan_pack(lists.train, packs.train, decoder=decoder)
    val, val_problems = scan_pack(lists.val, packs.val, decoder=decoder)
    if train is None or val is None:
        raise Trouble(
            [*capped(problems, lists.train.where), *capped(val_problems, lists.val.where)],
            NEXT_STEP,
        )
    return Fingerprints(train, val)
