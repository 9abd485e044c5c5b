"""Package indexes for wheels and sdists, as pip is configured on this machine.

Formats: PEP 503 (HTML), PEP 691 (JSON), PEP 427 (wheel file names), PEP 600 (manylinux tags).
"""

from __future__ import annotations

import ast
import json
import sys
import urllib.parse
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from container.download import Downloader, NotFetched
from container.process import CommandFailed, run
from container.trouble import Trouble

SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
#: From weakest to strongest, as pip merges them: the environment overrides the files.
SECTIONS = ("global", "install", ":env:")


@dataclass(frozen=True)
class PipSettings:
    """``indexes`` are simple-index URLs, ``find_links`` folders or URLs of pages or folders."""

    indexes: Tuple[str, ...]
    find_links: Tuple[str, ...] = ()
    certificates: Optional[str] = None


@dataclass(frozen=True)
class Candidate:
    """One file of an index; ``sha256`` is what the index says of it, if anything."""

    filename: str
    url: str
    sha256: Optional[str] = None


def pip_settings() -> PipSettings:
    """Ask this interpreter's pip for its configuration. Raises Trouble when there is no pip."""
    try:
        listing = run([sys.executable, "-m", "pip", "config", "list"], timeout=60).stdout
    except CommandFailed as error:
        problem = f"pip of {sys.executable} did not say which package index it uses: {error}"
        raise Trouble(problem, "make the project's environment anew with `make setup`") from error
    return read_pip_settings(listing, default_index())


def default_index() -> str:
    """pip's own default: the address is written there and nowhere here."""
    from pip._internal.models.index import PyPI

    return str(PyPI.simple_url)


def read_pip_settings(listing: str, default: str) -> PipSettings:
    """Merge the lines of ``pip config list``: ``section.key='value'``."""
    found: Dict[str, Dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        name, separator, quoted = line.partition("=")
        section, _, key = name.rpartition(".")
        if separator and section in found:
            found[section][key] = str(ast.literal_eval(quoted))
    merged: Dict[str, str] = {}
    for section in SECTIONS:
        merged.update(found[section])
    main = [] if _is_on(merged.get("no-index")) else [merged.get("index-url") or default]
    extra = [] if _is_on(merged.get("no-index")) else merged.get("extra-index-url", "").split()
    return PipSettings(
        indexes=tuple(main + extra),
        find_links=tuple(merged.get("find-links", "").split()),
        certificates=merged.get("cert"),
    )


def _is_on(value: Optional[str]) -> bool:
    return value is not None and value.lower() in ("1", "y", "yes", "t", "true", "on")


@dataclass
class WheelIndex:
    settings: PipSettings
    downloader: Downloader
    _pages: Dict[str, List[Candidate]] = field(default_factory=dict)

    def candidates(self, project: str) -> List[Candidate]:
        """Files of a project in all places, in pip's order; a place without it adds none.

        Raises Trouble when no place answers at all.
        """
        name = canonicalize_name(project)
        found: List[Candidate] = []
        failures: List[str] = []
        for base, page in self._places(name):
            try:
                found.extend(self._page(page))
            except NotFetched as error:
                if not error.final:
                    failures.append(f"{_without_secret(base)} does not answer: {error}")
        if not found and failures:
            raise Trouble(failures, "check the network and pip's index settings, then try again")
        return found

    def _places(self, name: str) -> List[Tuple[str, str]]:
        places = [(link, _as_url(link)) for link in self.settings.find_links]
        for index in self.settings.indexes:
            page = f"{index.rstrip('/')}/{name}/"
            places.append((index, page + "index.html" if page.startswith("file:") else page))
        return places

    def _page(self, url: str) -> List[Candidate]:
        if url not in self._pages:
            folder = _local_folder(url)
            if folder is not None:
                files = sorted(folder.iterdir())
                self._pages[url] = [Candidate(file.name, file.as_uri()) for file in files]
            else:
                body, kind = self.downloader.text(url, SIMPLE)
                self._pages[url] = read_page(body, kind, url)
        return self._pages[url]


def read_page(body: str, content_type: str, url: str) -> List[Candidate]:
    """The files that a page of a simple index lists; relative addresses are resolved."""
    if "json" in content_type:
        return [
            Candidate(
                file["filename"],
                urllib.parse.urljoin(url, file["url"]),
                file.get("hashes", {}).get("sha256"),
            )
            for file in json.loads(body)["files"]
        ]
    reader = _AnchorReader()
    reader.feed(body)
    found = []
    for href in reader.hrefs:
        address, _, fragment = urllib.parse.urljoin(url, href).partition("#")
        filename = urllib.parse.unquote(urllib.parse.urlsplit(address).path.rsplit("/", 1)[-1])
        hashes = urllib.parse.parse_qs(fragment).get("sha256")
        found.append(Candidate(filename, address, hashes[0] if hashes else None))
    return found


class _AnchorReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hrefs: List[str] = []

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.hrefs.append(href)


def _as_url(link: str) -> str:
    return link if "://" in link else Path(link).absolute().as_uri()


def _local_folder(url: str) -> Optional[Path]:
    if not url.startswith("file:"):
        return None
    path = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    return path if path.is_dir() else None


def _without_secret(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]))


def best_file(
    candidates: List[Candidate], name: str, version: str, kind: str, tags: Mapping[Tag, int]
) -> Optional[Candidate]:
    """The file to lock for a pin: the sdist, or the wheel whose tag ranks lowest in ``tags``."""
    wanted = canonicalize_name(name), Version(version)
    ranked = []
    for candidate in candidates:
        rank = _rank(candidate.filename, wanted, kind, tags)
        if rank is not None:
            # Of equals the sdist that an index names first, and the wheel that sorts first.
            ranked.append((rank, candidate.filename if kind == "wheel" else "", candidate))
    return min(ranked, key=lambda entry: entry[:2])[2] if ranked else None


def _rank(
    filename: str, wanted: Tuple[str, Version], kind: str, tags: Mapping[Tag, int]
) -> Optional[int]:
    """None for a file of another project, version or kind, or one that does not fit."""
    try:
        if kind == "sdist":
            return 0 if parse_sdist_filename(filename) == wanted else None
        name, version, _, fitting = parse_wheel_filename(filename)
    except (InvalidSdistFilename, InvalidWheelFilename):
        return None
    if (name, version) != wanted:
        return None
    return min((tags[tag] for tag in fitting if tag in tags), default=None)


def supported_tags(python: str, glibc: str) -> Dict[Tag, int]:
    """Wheel tags that CPython ``python`` with ``glibc`` on x86_64 can use, best first (rank 0)."""
    major, minor = (int(part) for part in python.split("."))
    newest = int(glibc.split(".")[1])
    legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}  # PEP 600
    platforms: List[str] = []
    for version in range(newest, 4, -1):
        platforms.append(f"manylinux_2_{version}_x86_64")
        if version in legacy:
            platforms.append(f"{legacy[version]}_x86_64")
    platforms.append("linux_x86_64")
    interpreter = f"cp{major}{minor}"
    ordered = [
        *cpython_tags((major, minor), abis=[interpreter], platforms=platforms),
        *compatible_tags((major, minor), interpreter=interpreter, platforms=platforms),
    ]
    return {tag: rank for rank, tag in enumerate(dict.fromkeys(ordered))}
