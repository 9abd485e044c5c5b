"""Cache: where fetched inputs, finished images and builds under way lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional

from container.reachable import PERMISSION, folder_here, folder_problem
from container.trouble import Trouble


@dataclass(frozen=True)
class Cache:
    """``shared`` is one of a group: images and inputs are taken from it, and nothing is written."""

    root: Path
    shared: Optional[Path] = None

    @property
    def store(self) -> Path:
        return self.root / "sha256"

    @property
    def shared_store(self) -> Optional[Path]:
        return self.shared / "sha256" if self.shared else None

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def image_folders(self) -> List[Path]:
        """Where a finished image may lie, the own folder first."""
        return [self.images, *([self.shared / "images"] if self.shared else [])]

    @property
    def builds(self) -> Path:
        return self.root / "builds"

    @property
    def matplotlib(self) -> Path:
        """Where matplotlib keeps its list of fonts."""
        return self.root / "matplotlib"


def cache_of(environ: Mapping[str, str]) -> Cache:
    """The cache in ``$BUNDLE_CACHE``, else in ``$XDG_CACHE_HOME/bundle``, else in
    ``$HOME/.cache/bundle``.

    A ``$BUNDLE_CACHE`` that this account may read and not write is a group's: what the account
    itself keeps lies in the other place. Raises Trouble for a place that no cache can have: without
    this, all that lies there would count as not made yet.
    """
    root = cache_root(environ)
    _refuse(root, environ)
    if environ.get("BUNDLE_CACHE") and folder_here(root) and not os.access(root, os.W_OK):
        rest = {name: value for name, value in environ.items() if name != "BUNDLE_CACHE"}
        own = cache_root(rest)
        _refuse(own, rest)
        return Cache(own, shared=root)
    return Cache(root)


def cache_root(environ: Mapping[str, str]) -> Path:
    """``$BUNDLE_CACHE``, else ``$XDG_CACHE_HOME/bundle``, else ``$HOME/.cache/bundle``.

    ``~/`` is the home folder, as in a config. A relative ``$XDG_CACHE_HOME`` counts as none (XDG
    Base Directory Specification). Raises Trouble for a relative ``$BUNDLE_CACHE``, which would be
    another place in each folder.
    """
    home = environ.get("HOME", "")
    home_folder = Path(home) if home else Path("~").expanduser()
    named = environ.get("BUNDLE_CACHE", "")
    if named:
        root = home_folder / named[2:] if named == "~" or named.startswith("~/") else Path(named)
        if not root.is_absolute():
            raise Trouble(
                f"BUNDLE_CACHE: found {named!r}, expected the path of a folder, from / or ~/ on",
                _NEXT_STEP,
            )
        return root
    base = Path(environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else home_folder / ".cache") / "bundle"


_NEXT_STEP = "set BUNDLE_CACHE to a folder of yours, or unset it for ~/.cache/bundle"


def _refuse(root: Path, environ: Mapping[str, str]) -> None:
    """Raise Trouble where ``root`` cannot be a folder, or not one that is read."""
    problem = folder_problem(root)
    if problem == "does not exist":
        # As far as there is something of its path, that must be a folder, and no link to nowhere.
        place = next(path for path in (root, *root.parents) if os.path.lexists(path))
        problem = folder_problem(place)
        if problem:
            problem = f"{place} {_NOWHERE if place.is_symlink() else problem}"
    elif problem:
        problem = f"{root} {problem}"
    elif not os.access(root, os.R_OK):
        problem = f"{root} {PERMISSION}"
    if problem:
        name = "BUNDLE_CACHE" if environ.get("BUNDLE_CACHE") else "the cache"
        raise Trouble(f"{name}: {problem}", _NEXT_STEP)


_NOWHERE = "is a link to what does not exist"
