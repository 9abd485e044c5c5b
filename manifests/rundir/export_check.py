"""Whether the files of an export are those of its manifest: digests held against digests (pure)

The content of each file was held against its digest when it was read. So nothing is read here, and
what `verify` would find in the run directory is found before there is one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from container.recipe import Recipe
from container.trouble import Trouble
from manifests.datasets.table import parse_table
from manifests.record.alteration import was_altered
from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.export_head import EXPORT_VERSION, ExportHead
from manifests.rundir.records import Warn, parse_record
from manifests.rundir.snapshot import code_digest_problems, recorded_files
from manifests.rundir.verify import (
    altered_trail,
    identity_digest_problems,
    recipe_problems,
    result_record_problems,
)

MANIFEST, RESULT, JOB = "manifest.json", "result.json", "job.json"
TRAIN, VAL = "inputs/train.tsv", "inputs/val.tsv"
#: Members whose content is looked at.
LOOKED_AT = (MANIFEST, RESULT, JOB, TRAIN, VAL)

#: What job.json may say of programs and variables of another machine is not to be used on this one.
_OF_ITS_CLUSTER = ("program", "environment", "home", "cluster")


@dataclass(frozen=True)
class Contents:
    """Of each member by its name: sha256 and mode; ``kept`` the bytes of :data:`LOOKED_AT`;
    ``trail`` the sha256 over all trail files. ``descriptions`` are names of files that a run
    directory need not have."""

    sums: Mapping[str, str]
    modes: Mapping[str, int]
    kept: Mapping[str, bytes]
    trail: str
    descriptions: Tuple[str, ...] = ()

    def below(self, folder: str) -> Iterator[str]:
        return (name for name in self.sums if name.startswith(folder))


def manifest_in(contents: Contents, where: str, warn: Warn) -> Manifest:
    """Raises Trouble where there is none that can be read; ``where`` names the export."""
    return parse_record(_object(contents, MANIFEST, where), f"{where}: {MANIFEST}", Manifest, warn)


def _object(contents: Contents, name: str, where: str) -> Dict[str, Any]:
    try:
        value = json.loads(contents.kept[name].decode("utf-8"))
    except KeyError:
        raise Trouble(f"{where}: has no {name}", NOT_THE_RUN) from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Trouble(f"{where}: {name}: is not a JSON object", NOT_THE_RUN)
    return value


NOT_THE_RUN = "ask for another export of the run: what it holds is not what its manifest says"


def content_problems(
    head: ExportHead, manifest: Manifest, contents: Contents, where: str, warn: Warn
) -> List[str]:
    """Everything that does not fit together. Raises Trouble for a record that cannot be read."""
    raw = _object(contents, MANIFEST, where)
    problems = identity_digest_problems(raw)
    if head.identity_digest != manifest.identity_digest:
        problems.append(
            f"export.json: is that of identity {head.identity_digest}, "
            f"the manifest's is {manifest.identity_digest}"
        )
    return [
        *problems,
        *recipe_problems(manifest),
        *code_digest_problems(manifest),
        *_name_problems(head, contents),
        *_code_problems(manifest, contents),
        *_file_problems(manifest, contents),
        *_supply_problems(head, manifest, contents),
        *_job_problems(contents, where),
        *_result_problems(head, manifest, contents, where, warn),
    ]


def _differs(contents: Contents, name: str, expected: Optional[str]) -> List[str]:
    found = contents.sums.get(name)
    if found is None:
        return [f"{name}: is missing"]
    return [] if expected in (None, found) else [f"{name}: {was_altered(found, str(expected))}"]


def _name_problems(head: ExportHead, contents: Contents) -> Iterator[str]:
    """Names that no run has, which may mean something to others: a folder on PATH, a settings file.
    A newer version may have more."""
    if int(head.version.split(".")[1]) > int(EXPORT_VERSION.split(".")[1]):
        return
    known = {path.parts[0] for path in RunFiles.names()} | {*contents.descriptions}
    for name in contents.sums:
        first, slash, _ = name.partition("/")
        script = not slash and _SCRIPT.fullmatch(first) is not None
        if not script and (first not in known or bool(slash) != (first in _FOLDERS)):
            yield f"{name}: is not a file of a run"
        elif contents.modes.get(name, 0) & 0o111 and not script and first not in _PROGRAMS:
            yield f"{name}: is executable, which only the snapshot, scripts and the image may be"


#: Where a run has folders, and where programs.
_FOLDERS = frozenset(
    ("code", "inputs", "logs", "results", "packages", "data", "verdicts", "statements")
)
_PROGRAMS = frozenset(("code", "image.sif"))
_SCRIPT = re.compile(r"job(-[0-9]+-on-[0-9]+)?\.sh")


def _code_problems(manifest: Manifest, contents: Contents) -> Iterator[str]:
    recorded = recorded_files(manifest)
    for name, digest in sorted(recorded.items()):
        member = f"code/{name}"
        yield from _differs(contents, member, digest.sha256)
        executable = bool(contents.modes.get(member, 0) & 0o100)
        if member in contents.sums and executable != digest.executable:
            wanted = "executable" if digest.executable else "not executable"
            yield f"{member}: was altered: expected to be {wanted}"
    for member in contents.below("code/"):
        if member[len("code/") :] not in recorded:
            yield f"{member}: is not part of the snapshot"


def _file_problems(manifest: Manifest, contents: Contents) -> Iterator[str]:
    data = manifest.identity.data
    inputs = {TRAIN: data.train.sha256, VAL: data.val.sha256, "inputs/mean.npy": data.mean.sha256}
    if data.initmodel:
        inputs["inputs/initmodel.npz"] = data.initmodel
    for name, expected in [*inputs.items(), *sorted(manifest.companions.items())]:
        yield from _differs(contents, name, expected)
    for name in contents.below("inputs/"):
        if name not in inputs:
            yield f"{name}: is not a file of this run"


def _supply_problems(head: ExportHead, manifest: Manifest, contents: Contents) -> Iterator[str]:
    """Image, packages and data, where the export has them."""
    if "image" in head.holds or "image.sif" in contents.sums:
        yield from _differs(contents, "image.sif", manifest.identity.image.sha256)
    yield from _package_problems(manifest, contents, whole="packages" in head.holds)
    whole = "data" in head.holds and head.steps is None
    packed = any(name.endswith(".pack") for name in contents.below("data/"))
    for table, folder in ((TRAIN, "data/train/"), (VAL, "data/val/")):
        rows = _rows(contents.kept.get(table, b""))
        for name in contents.below(folder):
            expected = rows.pop(name[len(folder) :], None)
            if expected is None:
                yield f"{name}: is not an image of {table}"
            elif expected != contents.sums[name]:
                yield f"{name}: {was_altered(contents.sums[name], expected)}"
        if whole and not packed:
            yield from (f"{folder}{name}: is missing" for name in sorted(rows))


def _rows(table: bytes) -> Dict[str, str]:
    digests, names, _ = parse_table(table, "")
    return dict(zip(names, digests))


def _package_problems(manifest: Manifest, contents: Contents, *, whole: bool) -> Iterator[str]:
    present = list(contents.below("packages/"))
    if not (whole or present):
        return
    from container.lock import parse_lock

    try:
        text = Recipe(manifest.recipe.stack, dict(manifest.recipe.files)).lock_text
        files = parse_lock(text, "manifest.json: lock").all_files
    except (Trouble, KeyError) as error:
        yield f"manifest.json: its lock cannot be read: {error}"
        return
    named = {f"packages/{file.basename}": file.sha256 for file in files}
    if whole:
        for name, expected in sorted(named.items()):
            yield from _differs(contents, name, expected)
    for name in present:
        if name not in named:
            yield f"{name}: is not a package of the lock"


def _job_problems(contents: Contents, where: str) -> Iterable[str]:
    if JOB not in contents.kept:
        return []
    job = _object(contents, JOB, where)
    return [
        f"{JOB}: {key}: is about the machine that it ran on, expected none in an export"
        for key in _OF_ITS_CLUSTER
        if job.get(key)
    ]


def _result_problems(
    head: ExportHead, manifest: Manifest, contents: Contents, where: str, warn: Warn
) -> Iterator[str]:
    """Result against model, log and trail; a part of a run has not all of them."""
    if RESULT not in contents.kept:
        if "DONE" in contents.sums:
            yield f"{RESULT}: is missing"
        return
    raw = _object(contents, RESULT, where)
    result = parse_record(raw, f"{where}: {RESULT}", Result, warn)
    yield from result_record_problems(manifest, result)
    for name, expected in (
        ("results/model.npz", result.digests.model),
        ("results/log.jsonl", result.log),
    ):
        if name in contents.sums:
            yield from _differs(contents, name, expected)
    if contents.trail != result.digests.trail:
        yield altered_trail(contents.trail, result)
