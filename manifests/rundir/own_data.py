"""Data that travel with a run, in its own directory, instead of those at the recorded places"""

from __future__ import annotations

from typing import Dict

from container.reachable import file_here, folder_here
from manifests.record.run_files import RunFiles
from manifests.record.schema import Circumstance


def with_own_data(files: RunFiles, recorded: Circumstance, now: Circumstance) -> Circumstance:
    """``now`` with the run's own images and packed files where it has them.

    What is at another place ``now`` than ``recorded`` was put there by a person and stays.
    """
    own: Dict[str, str] = {}
    for name, path, here in (
        ("train_root", files.train_images, folder_here),
        ("val_root", files.val_images, folder_here),
        ("train_pack", files.train_pack, file_here),
        ("val_pack", files.val_pack, file_here),
    ):
        place = getattr(now.paths, name)
        if place is None or place != getattr(recorded.paths, name):
            continue
        if here(path):
            own[name] = str(path)
        elif here is folder_here and folder_here(files.data) and not folder_here(place):
            own[name] = str(files.data)  # a set of which these steps need no image
    return now.model_copy(update={"paths": now.paths.model_copy(update=own)}) if own else now
