"""The members of an export without the names of accounts, machines and folders"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

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
    names = names_in_run(files, manifest, result, host)
    name = names.text(files.root.name)
    kept, left_out = _kept(members)
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
    files: RunFiles, manifest: Manifest, result: Optional[Result], host: HostContext
) -> Names:
    """What stands in the run's own records, and what this account and machine are called."""
    job: Optional[Job] = None
    with suppress(Trouble):  # a damaged one is not exported
        job = read_job(files)
    folders = [str(files.root.parent), str(host.home)] if host.home else [str(files.root.parent)]
    names = names_of(
        manifest.circumstance,
        result,
        users=[host.user, *([job.user] if job else [])],
        hosts=[host.hostname, *([job.host] if job else [])],
        folders=folders[:1],
    )
    home = {folders[1]: "/anonymous/home"} if len(folders) > 1 and folders[1] != "/" else {}
    return Names(names.users, names.hosts, {**home, **names.paths})


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
    source = member.source
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if member.expected not in (None, found):
        raise Trouble(f"{member.name}: {was_altered(found, str(member.expected))}", RESTORE)
    if member.name.endswith(".json"):
        try:
            content = names.json_text(content)
        except (ValueError, RecursionError) as error:
            raise Trouble(f"{member.name}: is not JSON: {error}", RESTORE) from error
    else:
        content = names.text(content.decode("utf-8", "replace")).encode("utf-8")
    return of_bytes(names.text(member.name), content)


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
