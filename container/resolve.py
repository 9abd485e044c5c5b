"""Stack -> Lock: the only place where versions are looked for, by apt and by pip's index.

apt works on state of its own (lists, cache, an empty status file), so the answer depends on the
mirror alone and an ordinary user can ask.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Set

from container.digest import sha256_of_file
from container.download import NotFetched
from container.lock import DebianFiles, Lock, LockedFile, PythonFile, PythonFiles, Role
from container.process import CommandFailed, run
from container.progress import Progress, Silent
from container.sources import apt_base, with_slash
from container.stack import DebianChoice, PythonChoice, Stack
from container.trouble import Trouble
from container.wheel_index import WheelIndex, best_file, supported_tags

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PRINTED_URI = re.compile(
    r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>\w{64})$"
)


def resolve(
    stack: Stack,
    *,
    mirror: Optional[str],
    index: WheelIndex,
    progress: Optional[Progress] = None,
) -> Lock:
    """Ask the mirror and the index for the files that the stack names.

    Raises Trouble: no apt, no mirror, packages that do not exist, a pin that no index has.
    """
    progress = progress or Silent()
    progress.stage(f"asking the Debian mirror for {stack.debian.release}")
    debian = resolve_debian(stack.debian, mirror)
    progress.stage("asking the package index for the Python packages")
    python = resolve_python(stack.python, index)
    return Lock(
        stack=stack.stack,
        timestamp=stack.timestamp,
        compression=stack.compression,
        debian=debian,
        python=python,
        environment=stack.environment,
        drop=stack.drop,
        probes=stack.probes,
    )


def resolve_debian(choice: DebianChoice, mirror: Optional[str]) -> DebianFiles:
    if shutil.which("apt-get") is None:
        raise Trouble(
            "resolving a stack needs apt-get, which this machine does not have",
            "write the lock on a Debian machine; building from a lock needs no apt",
        )
    base = with_slash(mirror) if mirror else apt_base()
    if base is None:
        raise Trouble("this machine's apt knows no Debian mirror", "name one with --mirror URL")
    with tempfile.TemporaryDirectory(prefix="bundle-apt-") as name:
        apt = PrivateApt(Path(name), base, choice)
        apt.update()
        image = apt.files(choice.packages)
        tools = apt.files(choice.tools)
    return merge_debian(choice, image, tools)


def merge_debian(
    choice: DebianChoice, image: Sequence[LockedFile], tools: Sequence[LockedFile]
) -> DebianFiles:
    """One list with roles, sorted by name; Trouble when an exclusion excludes nothing."""
    idle = sorted(set(choice.exclude) - {file.name for file in image})
    if idle:
        problems = [f"debian.exclude.{name}: nothing asks for this package" for name in idle]
        raise Trouble(problems, "take these lines out of the stack file")
    roles: Dict[str, Set[Role]] = {}
    by_name: Dict[str, LockedFile] = {}
    for file in image:
        if file.name not in choice.exclude:
            roles.setdefault(file.name, set()).add("image")
            by_name[file.name] = file
    for file in tools:
        roles.setdefault(file.name, set()).add("tools")
        by_name[file.name] = file
    files = [
        by_name[name].model_copy(update={"roles": sorted(roles[name])}) for name in sorted(by_name)
    ]
    return DebianFiles(release=choice.release, architecture=choice.architecture, files=files)


@dataclass(frozen=True)
class PrivateApt:
    root: Path
    base: str
    choice: DebianChoice

    def update(self) -> None:
        for folder in ("lists/partial", "cache/archives/partial"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "status").touch()
        line = f"deb [signed-by={KEYRING}] {self.base} {self.choice.release} main\n"
        (self.root / "sources.list").write_text(line)
        self._apt_get("update", "--error-on=any")

    def files(self, packages: Sequence[str]) -> List[LockedFile]:
        printed = self._apt_get(
            "install", "--print-uris", "--yes", "--no-install-recommends", *packages
        )
        return read_printed_uris(printed, self.base)

    def _apt_get(self, *words: str) -> str:
        settings = {
            "Dir::Etc::SourceList": self.root / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State": self.root,
            "Dir::State::Lists": self.root / "lists",
            "Dir::State::status": self.root / "status",
            "Dir::Cache": self.root / "cache",
            "APT::Architecture": self.choice.architecture,
            "APT::Architectures": self.choice.architecture,
            "APT::Get::AutomaticRemove": "false",
            "Acquire::ForceHash": "SHA256",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        if os.geteuid() == 0:
            settings["APT::Sandbox::User"] = "root"
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        try:
            return run(["apt-get", "-qq", *options, *words]).stdout
        except CommandFailed as error:
            reasons = [line for line in error.stderr_tail.splitlines() if line.startswith("E:")]
            raise Trouble(
                reasons or [str(error)],
                "check the packages of the stack file, and the mirror (--mirror URL)",
            ) from error


def read_printed_uris(printed: str, base: str) -> List[LockedFile]:
    """The lines of ``apt-get --print-uris``: ``'URI' name_version_arch.deb SIZE SHA256:…``."""
    files = []
    for line in printed.splitlines():
        match = PRINTED_URI.match(line)
        if match is None or not match["uri"].startswith(base):
            raise Trouble(f"apt answered with a line that is not a package: {line}")
        name, version, _ = match["file"].split("_")
        files.append(
            LockedFile(
                name=name,
                version=urllib.parse.unquote(version),
                file=urllib.parse.unquote(match["uri"][len(base) :]),
                size=int(match["size"]),
                sha256=match["sha256"],
                roles=[],
            )
        )
    return files


def resolve_python(choice: PythonChoice, index: WheelIndex) -> PythonFiles:
    roles: Dict[str, Set[Role]] = {}
    for pin in choice.packages:
        roles.setdefault(pin.name, set()).add("image")
    for pin in choice.build:
        roles.setdefault(pin.name, set()).add("build")
    tags = supported_tags(choice.version, choice.glibc)
    problems: List[str] = []
    files: List[PythonFile] = []
    pins = {pin.name: pin for pin in (*choice.build, *choice.packages)}
    with tempfile.TemporaryDirectory(prefix="bundle-index-") as folder:
        for name in sorted(pins):
            pin = pins[name]
            found = best_file(index.candidates(name), name, pin.version, pin.kind, tags)
            if found is None:
                problems.append(f"{name} {pin.version}: no configured index has a {pin.kind} of it")
                continue
            target = Path(folder) / found.filename
            try:
                index.downloader.to_file(found.url, target)
            except NotFetched as error:
                problems.append(f"{found.filename}: cannot be fetched: {error}")
                continue
            size, sha256 = target.stat().st_size, sha256_of_file(target)
            target.unlink()
            if found.sha256 not in (None, sha256):
                problems.append(
                    f"{found.filename}: the index says sha256 {found.sha256}, the file has {sha256}"
                )
                continue
            files.append(
                PythonFile(
                    name=name,
                    version=pin.version,
                    kind=pin.kind,
                    file=found.filename,
                    size=size,
                    sha256=sha256,
                    roles=sorted(roles[name]),
                    licence=pin.licence,
                )
            )
    if problems:
        raise Trouble(problems, "correct the pins, or let pip's settings name another index")
    return PythonFiles(version=choice.version, files=files)
