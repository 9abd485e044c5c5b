"""The folder that `data crop` fills, and what it keeps in its ``.crop/``.

``settings.json`` says how all of the folder's images were made. ``lock`` is held by every crop that
works here, so that one that finds itself alone can sweep away what killed ones left.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from container.atomic import write_json
from container.trouble import Trouble

OWN = ".crop"


def refuse_nesting(source: Path, target: Path) -> None:
    """Refuse folders of which one lies in the other, links followed."""
    if not source.is_dir():
        raise Trouble(f"{source}: is not a folder", "name the folder of the original images")
    inner, outer = target.resolve(), source.resolve()
    if inner == outer or outer in inner.parents:
        raise Trouble(
            f"{target}: lies in {source}, whose images are never touched",
            "choose a folder outside of it",
        )
    if inner in outer.parents:
        raise Trouble(
            f"{source}: lies in {target}, which is to hold cropped images only",
            "choose another folder for them",
        )


def refuse_foreign(target: Path, settings: Dict[str, Any]) -> None:
    """Refuse a target that is not a folder, holds something else, or images made in another way."""
    if not target.exists():
        return
    if not target.is_dir():
        raise Trouble(f"{target}: is not a folder", "choose another folder")
    found = _settings_of(target)
    if found is None:
        if any(path.name != OWN for path in target.iterdir()):
            raise Trouble(
                f"{target}: is not empty and was not made by `data crop`",
                "choose a new or empty folder",
            )
        return
    differences = [
        f"{target}: its images were made with {name} {found.get(name)}, here it is {value}"
        for name, value in settings.items()
        if found.get(name) != value
    ]
    if differences:
        raise Trouble(
            differences,
            "choose another folder, or remove this one to make all of its images anew: "
            "the images of one set are made in one way",
        )


def _settings_of(target: Path) -> Optional[Dict[str, Any]]:
    path = target / OWN / "settings.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise Trouble(
            f"{path}: is damaged: {error}", f"remove {target} to make all of its images anew"
        ) from error


@contextmanager
def working_in(target: Path, settings: Dict[str, Any]) -> Iterator[Path]:
    """Make the folder, and give a scratch folder in it that is gone afterwards."""
    own = target / OWN
    own.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(own / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # A file system without locks (ENOLCK, ENOSYS): nothing is swept.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in own.glob("work-*"):
                shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _settings_of(target) is None:
            write_json(own / "settings.json", settings)
        scratch = Path(tempfile.mkdtemp(prefix="work-", dir=own))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(descriptor)
