"""The project's own Python packages, and git."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Mapping, Optional, Tuple

from packaging.requirements import Requirement

from manifests.host.finding import Finding, fail, ok, warn


@dataclass(frozen=True)
class Packages:
    """``wanted`` maps a package to its pinned version, ``installed`` to the one that is there.

    ``stamped``: the environment was made from requirements/host.txt as it is now.
    """

    python: str
    wanted: Mapping[str, str]
    installed: Mapping[str, Optional[str]]
    stamped: bool


def parse_pins(requirements: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    """The text of requirements/host.txt -> name to version, of those that their markers let in.

    ``environment`` sets values of markers that are not to be this Python's own (PEP 508).
    """
    pins = {}
    for line in requirements.splitlines():
        if not line or line[0] in " #":
            continue
        pin = Requirement(line.rstrip("\\ "))
        if pin.marker is None or pin.marker.evaluate(dict(environment)):
            pins[pin.name] = str(pin.specifier).removeprefix("==")
    return pins


def packages_finding(packages: Packages) -> Finding:
    setup = "run: make setup"
    wrong: List[str] = []
    for name, version in packages.wanted.items():
        found = packages.installed.get(name)
        if found != version:
            wrong.append(f"{name} {found or 'missing'}, expected {version}")
    if wrong:
        missing = any(packages.installed.get(name) is None for name in packages.wanted)
        finding = fail if missing else warn
        return finding(f"Python {packages.python}: {'; '.join(wrong)}", setup)
    if not packages.stamped:
        return warn(
            f"Python {packages.python}: .venv was not made from requirements/host.txt as it is now",
            setup,
        )
    return ok(f"Python {packages.python}, {len(packages.wanted)} packages as pinned")


def git_finding(version: Optional[str], tracked: Optional[int]) -> Finding:
    """``version`` is None without git; ``tracked`` (files) is None where there is no checkout.

    A checkout that git cannot read is Trouble.
    """
    if tracked is not None:
        return ok(f"git {version or 'unknown'}, {tracked} files are tracked")
    if version is None:
        return ok("no git, and the project is not a checkout: a run takes all its files")
    return ok(f"git {version}; the project is not a checkout: a run takes all its files")


def parse_git(text: str) -> Optional[str]:
    """``git version 2.39.5`` -> ``2.39.5``"""
    words: Tuple[str, ...] = tuple(text.split())
    return words[2] if words[:2] == ("git", "version") and len(words) > 2 else None
