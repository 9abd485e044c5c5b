"""Cache: where fetched inputs, finished images and builds under way lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional

from container.reachable import folder_here


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
    itself keeps lies in the other place.
    """
    root = cache_root(environ)
    if environ.get("BUNDLE_CACHE") and folder_here(root) and not os.access(root, os.W_OK):
        rest = {name: value for name, value in environ.items() if name != "BUNDLE_CACHE"}
        return Cache(cache_root(rest), shared=root)
    return Cache(root)


def cache_root(environ: Mapping[str, str]) -> Path:
    """``$BUNDLE_CACHE``, else ``$XDG_CACHE_HOME/bundle``, else ``$HOME/.cache/bundle``."""
    if environ.get("BUNDLE_CACHE"):
        return Path(environ["BUNDLE_CACHE"])
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"]) / "bundle"
    home = environ.get("HOME")
    return (Path(home) if home else Path("~").expanduser()) / ".cache" / "bundle"
