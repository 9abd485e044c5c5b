"""The members of an export without the names of accounts, machines and folders"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from container.trouble import Trouble
from manifests.host.context import HostContext
from manifests.record.alteration import was_altered
from manifests.record.checkpoint import Damaged, read_head
from manifests.record.json_numbers import json_text
from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.anonymous import (
    Names,
    anonymous_manifest,
    anonymous_result,
    names_of,
)
from manifests.rundir.export_file import Member, of_bytes
from manifests.rundir.job import Job, read_job
from manifests.rundir.outline import outline_of
from manifests.rundir.readme import readme_text
from manifests.rundir.records import RESTORE

#: Scripts are full of paths, figures and pages cannot be looked through, signatures have names.
_LEFT_OUT = re.compile(r"job[a-z0-9-]*\.sh|plot\.png|report\.html|statements/.*")
_STATE = "results/checkpoints/"
#: What has digests in the identity: it is looked through, and cannot be changed.
_FIXED = ("code/", "inputs/")
#: What holds no text of this account.
_PLAIN = ("results/", "image.sif", "packages/", "data/", "code/", "inputs/", "DONE", "exit_code",
          "interrupted")  # fmt: skip
#: Records that another account or another machine may have written.
_VERDICTS = ("verdict.json", "verdicts/")
_BY_OTHERS = ("labels.json", "cancelled.json", *_VERDICTS)
#: So many files with names in them are shown.
_SHOWN = 10


@dataclass(frozen=True)
class AnonymousRun:
    """``notes`` say what was left out, and where names stand that could not be removed."""

    name: str
    manifest: Manifest
    result: Optional[Result]
    members: List[Member]
    notes: List[str]


def anonymous_run(
    files: RunFiles,
    manifest: Manifest,
    result: Optional[Result],
    members: List[Member],
    host: HostContext,
) -> AnonymousRun:
    """Raises Trouble for a text that cannot be read."""
    kept, left_out = _kept(members)
    names = names_in_run(files, manifest, result, host, kept)
    name = names.text(files.root.name)
    companions: Dict[str, str] = {}
    changed: List[Member] = []
    for member in kept:
        if member.name in ("manifest.json", "outline.json", "README.md", "result.json"):
            continue
        made = _changed(member, names)
        if member.name in manifest.companions:
            assert isinstance(made.source, bytes)
            companions[member.name] = hashlib.sha256(made.source).hexdigest()
        changed.append(made)
    manifest = anonymous_manifest(manifest, names, companions)
    result = None if result is None else anonymous_result(result, names)
    changed += _records(manifest, result, name)
    return AnonymousRun(name, manifest, result, changed, [*left_out, *_remaining(kept, names)])


def names_in_run(
    files: RunFiles,
    manifest: Manifest,
    result: Optional[Result],
    host: HostContext,
    members: Sequence[Member],
) -> Names:
    """What stands in the run's own records and in those of ``members`` that others may have
    written, and what this account and machine are called."""
    others = _Others()
    for member in members:
        others.look_at(member)
    job: Optional[Job] = None
    with suppress(Trouble):  # a damaged one is not exported
        job = read_job(files)
    folders = [str(files.root.parent), str(host.home)] if host.home else [str(files.root.parent)]
    names = names_of(
        manifest.circumstance,
        result,
        users=[host.user, *([job.user] if job else []), *others.users],
        hosts=[host.hostname, *([job.host] if job else []), *others.hosts],
        folders=[*folders[:1], *others.folders],
    )
    home = {folders[1]: "/anonymous/home"} if len(folders) > 1 and folders[1] != "/" else {}
    return Names(names.users, names.hosts, {**home, **names.paths})


class _Others:
    """Whom records of the run name beside its own account: who noted, cancelled or reran it, where
    and in which folders."""

    def __init__(self) -> None:
        self.users: List[str] = []
        self.hosts: List[str] = []
        self.folders: List[str] = []

    def look_at(self, member: Member) -> None:
        """Damaged records are named when they are changed."""
        if not member.name.startswith(_BY_OTHERS):
            return
        with suppress(ValueError, RecursionError, OSError):
            self._look(json.loads(_content(member)))

    def _look(self, value: object) -> None:
        if isinstance(value, list):
            for item in value:
                self._look(item)
        if not isinstance(value, dict):
            return
        field = value.get("path")  # of a verdict: a field in which two manifests differ
        for key, item in value.items():
            if isinstance(item, str):
                self._text(str(field) if field and key in ("a", "b") else key, item)
            self._look(item)

    def _text(self, key: str, text: str) -> None:
        if key in ("by", "user", "placement.group"):
            self.users.append(text)
        elif key == "host":
            self.hosts.append(text)
        elif key in ("a", "b", "run", "rerun_of", "resumed.run") and text.startswith("/"):
            self.folders.append(str(PurePosixPath(text).parent))
        elif key.startswith("paths.") and text.startswith("/"):
            self.folders.append(text)


def _kept(members: List[Member]) -> Tuple[List[Member], List[str]]:
    """States that name machines are left out too."""
    kept, names = [], []
    for member in members:
        if _LEFT_OUT.fullmatch(member.name) or _names_machines(member):
            names.append(member.name)
        else:
            kept.append(member)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN))
    return kept, [f"left out, they name people or machines: {shown}"] if names else []


def _names_machines(member: Member) -> bool:
    if not member.name.startswith(_STATE):
        return False
    try:
        return read_head(Path(str(member.source))).gpus is not None
    except (Damaged, OSError):
        return True


def _changed(member: Member, names: Names) -> Member:
    """Its content so, where it is a text; its name where that is one of a run."""
    if member.name.startswith(_PLAIN):
        return member
    content = _content(member)
    found = hashlib.sha256(content).hexdigest()
    if member.expected not in (None, found):
        raise Trouble(f"{member.name}: {was_altered(found, str(member.expected))}", RESTORE)
    if member.name.endswith(".json"):
        try:
            content = names.json_text(_without_metadata(member.name, content))
        except (ValueError, RecursionError) as error:
            raise Trouble(f"{member.name}: is not JSON: {error}", RESTORE) from error
    else:
        content = names.text(content.decode("utf-8", "replace")).encode("utf-8")
    return of_bytes(names.text(member.name), content)


def _without_metadata(name: str, content: bytes) -> bytes:
    """A verdict without the fields that only describe: those of the manifests are changed too."""
    if not name.startswith(_VERDICTS):
        return content
    value = json.loads(content.decode("utf-8"))
    if isinstance(value, dict) and value.get("circumstances"):
        value["circumstances"] = []
    return json_text(value).encode()


def _content(member: Member) -> bytes:
    source = member.source
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def _records(manifest: Manifest, result: Optional[Result], name: str) -> Iterator[Member]:
    values = {
        "manifest.json": manifest.as_written(),
        "outline.json": asdict(outline_of(manifest)),
        **({} if result is None else {"result.json": result.model_dump(mode="json")}),
    }
    for file, value in values.items():
        yield of_bytes(file, f"{json_text(value)}\n".encode())
    yield of_bytes("README.md", readme_text(manifest, name).encode())


def _remaining(members: List[Member], names: Names) -> Iterator[str]:
    """Where names stand in what the identity has digests of."""
    found: List[str] = []
    for member in members:
        if member.name.startswith(_FIXED) and not member.name.endswith((".npy", ".npz")):
            inside = names.found_in(Path(str(member.source)).read_bytes())
            if inside:
                found.append(f"{member.name} ({', '.join(inside)})")
    if found:
        more = f" and {len(found) - _SHOWN} more" * (len(found) > _SHOWN)
        yield (
            "names stand in files that cannot be changed, because the identity has their digests: "
            + ", ".join(found[:_SHOWN]) + more
        )  # fmt: skip
