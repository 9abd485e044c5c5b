"""Cache: where fetched inputs, finished images and builds under way lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Mapping


@dataclass(frozen=True)
class Cache:
    root: Path

    @property
    def store(self) -> Path:
        return self.root / "sha256"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def builds(self) -> Path:
        return self.root / "builds"

    @property
    def matplotlib(self) -> Path:
        """Where matplotlib keeps its list of fonts."""
        return self.root / "matplotlib"


def cache_root(environ: Mapping[str, str]) -> Path:
    """``$BUNDLE_CACHE``, else ``$XDG_CACHE_HOME/bundle``, else ``$HOME/.cache/bundle``."""
    if environ.get("BUNDLE_CACHE"):
        return Path(environ["BUNDLE_CACHE"])
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"]) / "bundle"
    home = environ.get("HOME")
    return (Path(home) if home else Path("~").expanduser()) / ".cache" / "bundle"
