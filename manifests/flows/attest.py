"""attest: a run and the verdicts of its reruns, checked again, written as signed statements"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from container import atomic
from container.digest import sha256_of_file
from container.shell_word import shell_word
from container.trouble import Trouble
from manifests.flows.judgement import compare_runs, refused
from manifests.flows.slice_folder import found_slices, read_slices, refuse_other_set
from manifests.host import ssh_signature
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.record.slice_set import SetFiles
from manifests.rundir.counted_folder import refuse_counted
from manifests.rundir.directory import find_run
from manifests.rundir.known_outs import known_outs
from manifests.rundir.provenance import provenance_statement
from manifests.rundir.records import Warn, ignore, read_manifest, read_record, read_result
from manifests.rundir.reruns import original_of, reruns_of
from manifests.rundir.statement import statement_file_text, statement_text
from manifests.rundir.verify import (
    companion_problems,
    identity_files_problems,
    result_problems,
)
from manifests.verdict.comparison import Comparison
from manifests.verdict.rerun_statement import JudgedRun, verdict_statements
from manifests.verdict.run_record import load_record
from manifests.verdict.slices import gathered
from manifests.verdict.span import steps_text


@dataclass(frozen=True)
class Draft:
    """A statement before it is signed; ``stem`` begins the name of its file in ``folder``."""

    folder: Path
    stem: str
    text: str
    about: str  # for a person


@dataclass(frozen=True)
class Attested:
    """``changed`` is False where the same file was there already."""

    path: Path
    about: str
    changed: bool


def plan_statements(
    run: Path, host: HostContext, *, out: Optional[Path] = None, warn: Warn = ignore
) -> List[Draft]:
    """What there is to state of a run: its provenance, and each verdict on it or, for a rerun, its
    own verdict. Statements lie with the run that they are about, or in ``out``.

    All that is stated is checked again first. Raises Trouble with what is not as recorded.
    """
    files = find_run(str(run))
    if out is not None:
        refuse_counted(out, "name another folder with --out")
    host.progress.stage("verifying the run and its reruns")
    manifest = read_manifest(files, warn)
    _refuse_unfinished(files)
    problems = _problems(files, manifest, warn)
    judged = _judged(files, manifest, host, warn)
    for one in judged:
        for root in [one.original.root, *(again.root for again in one.reruns)]:
            if root != files.root:
                other = RunFiles(root)
                found = _problems(other, read_manifest(other, warn), warn)
                problems += [f"{root}: {problem}" for problem in found]
    if problems:
        raise Trouble(
            problems, "nothing was signed; restore what was altered, or attest a rerun alone"
        )
    folder = out.absolute() if out else files.statements
    drafts = [Draft(folder, "provenance", _provenance(files, manifest, warn), "provenance")]
    for one in judged:
        drafts += _verdict_drafts(one, out, warn)
    return drafts


def _refuse_unfinished(files: RunFiles) -> None:
    if not files.done.exists():
        raise Trouble(
            f"{files.root}: has no result: nothing to attest",
            f"see its state: python bundle.py status {shell_word(files.root)}",
        )


def _problems(files: RunFiles, manifest: Manifest, warn: Warn) -> List[str]:
    """Mismatches; of a rerun that was refused by its trainer, without those of the result.

    A model that somebody removed is none: its digest is in the result, and a rerun has it again.
    """
    found = [
        *identity_files_problems(files, manifest),
        *companion_problems(files, manifest),
        *(result_problems(files, manifest, warn) if files.done.exists() else []),
    ]
    return [problem for problem in found if problem != "results/model.npz: is missing"]


# --- reruns ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Judged:
    """A run with one rerun of it, or with all slices of one ``folder``."""

    original: RunFiles
    reruns: List[RunFiles]
    folder: Optional[Path] = None

    @property
    def name(self) -> str:
        return self.folder.name if self.folder else self.reruns[0].root.name

    @property
    def verdict(self) -> Path:
        return SetFiles(self.folder).verdict if self.folder else self.reruns[0].verdict


def _judged(files: RunFiles, manifest: Manifest, host: HostContext, warn: Warn) -> List[_Judged]:
    """Every rerun of the run, or the rerun that it is itself, of which a verdict can be known."""
    of = manifest.circumstance.rerun_of
    if of is None:
        reruns = reruns_of(files, manifest, known_outs(host.cache))
        single = [_Judged(files, [again]) for again in reruns]
        return [*single, *_by_slices(files, manifest, warn)]
    if manifest.circumstance.swapped:
        swapped = ", ".join(manifest.circumstance.swapped)
        warn(f"{files.root}: is a rerun with parts swapped ({swapped}): no verdict is attested")
        return []
    original = original_of(files, manifest)
    if original is None:
        warn(f"{files.root}: its original, {of}, is not there: no verdict is attested")
        return []
    return [_Judged(original, [files])]


def _by_slices(files: RunFiles, manifest: Manifest, warn: Warn) -> List[_Judged]:
    """Folders of slices beside the run that have a verdict (``rerun --slices``)."""
    found = []
    for plan in sorted(files.root.parent.glob(f"*/{SetFiles(Path()).plan.name}")):
        folder = plan.parent
        if not SetFiles(folder).verdict.exists():
            continue
        record = read_slices(folder, warn)
        if Path(record.run).name != files.root.name:
            continue
        if record.identity_digest == manifest.identity_digest:
            slices = found_slices(folder)
            missing = [steps for steps in record.slices if steps not in slices]
            for after, end in missing:
                warn(
                    f"{folder}: {steps_text(after, end)}: the slice is gone: no verdict is attested"
                )
            if not missing:
                refuse_other_set(folder, record, files, warn)
                found.append(_Judged(files, [slices[one] for one in record.slices], folder))
    return found


def _compared_again(judged: _Judged, warn: Warn) -> Comparison:
    """The verdict, found anew. Raises Trouble where ``verdict.json`` has another."""
    run = judged.original.root
    found = [
        refused(run, again, warn) or compare_runs(run, again.root, warn) for again in judged.reruns
    ]
    comparison = found[0]
    if judged.folder is not None:
        record = read_slices(judged.folder, warn)
        comparison = gathered(
            str(run), str(judged.folder), found,
            steps=record.steps, root=record.root, of=record.of, seed=record.seed,
        )  # fmt: skip
    if judged.verdict.exists():
        kept = read_record(judged.verdict, Comparison, warn)
        if kept.verdict != comparison.verdict:
            raise Trouble(
                f"{judged.verdict}: says {kept.verdict}; comparing the runs again gives "
                f"{comparison.verdict}",
                "nothing was signed; look at both: python bundle.py compare "
                f"{shell_word(run)} {shell_word(judged.reruns[0].root)}",
            )
    return comparison


# --- texts ----------------------------------------------------------------------------------


def _provenance(files: RunFiles, manifest: Manifest, warn: Warn) -> str:
    return statement_text(
        provenance_statement(
            files.root.name,
            manifest,
            sha256_of_file(files.manifest),
            read_result(files, warn),
            sha256_of_file(files.result),
        )
    )


def _judged_run(files: RunFiles, warn: Warn) -> JudgedRun:
    return JudgedRun(
        files.root.name,
        load_record(files, warn),
        sha256_of_file(files.manifest),
        sha256_of_file(files.result) if files.result.exists() else None,
    )


def _verdict_drafts(judged: _Judged, out: Optional[Path], warn: Warn) -> List[Draft]:
    comparison = _compared_again(judged, warn)
    reruns = [_judged_run(again, warn) for again in judged.reruns]
    texts: Tuple[Dict[str, Any], ...] = verdict_statements(
        _judged_run(judged.original, warn), judged.name, reruns, comparison
    )
    folder = out.absolute() if out else judged.original.statements
    about = f"rerun {judged.name}: {comparison.verdict}"
    return [
        Draft(folder, f"{stem}-{judged.name}", statement_text(value), what)
        for stem, value, what in zip(
            ("rerun-verdict", "test-result"), texts, (about, f"{about}, as test-result")
        )
    ]


# --- signing --------------------------------------------------------------------------------


def attest(drafts: List[Draft], key: Path) -> List[Attested]:
    """Sign all, then write ``STEM-<key>.json`` and its signature ``….json.sig``.

    Raises Trouble when the key cannot sign or a folder cannot be written; signatures are made
    elsewhere first, so a refused passphrase leaves nothing behind.
    """
    with tempfile.TemporaryDirectory(prefix="bundle-attest-") as scratch:
        paths = [Path(scratch) / f"{number}.json" for number in range(len(drafts))]
        for path, draft in zip(paths, drafts):
            path.write_text(draft.text, encoding="utf-8")
        ssh_signature.sign(paths, key)
        signatures = [Path(f"{path}.sig").read_text(encoding="ascii") for path in paths]
    return [_place(draft, signature) for draft, signature in zip(drafts, signatures)]


def _place(draft: Draft, signature: str) -> Attested:
    made = ssh_signature.parse_signature(signature)
    path = draft.folder / f"{draft.stem}-{made.short_name}.json"
    beside = Path(f"{path}.sig")
    try:
        draft.folder.mkdir(parents=True, exist_ok=True)
        same = _has(path, draft.text) and _signs(beside, draft.text, made)
        if not same:
            _write_both(path, draft.text, beside, signature)
    except OSError as error:
        raise Trouble(
            f"{draft.folder}: cannot be written: {error.strerror}",
            "name another folder with --out, and copy its files to the run's statements/ later",
        ) from error
    return Attested(path, draft.about, not same)


def _write_both(path: Path, text: str, beside: Path, signature: str) -> None:
    """Both are on the disk before the first is renamed; Ctrl-C leaves no signature alone."""
    was_there = beside.exists()
    try:
        with atomic.replacing(path) as stream:
            stream.write(text.encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
            atomic.write_bytes(beside, signature.encode("ascii"))
    except BaseException:
        if not was_there and not path.exists():
            beside.unlink(missing_ok=True)
        raise


def _has(path: Path, text: str) -> bool:
    try:
        return statement_file_text(path) == text
    except (FileNotFoundError, ValueError):
        return False


def _signs(beside: Path, text: str, made: ssh_signature.SshSignature) -> bool:
    """Whether a signature that is there does what the one that was ``made`` does."""
    try:
        there = ssh_signature.parse_signature(statement_file_text(beside))
    except (FileNotFoundError, ValueError):
        return False
    return there == made and ssh_signature.is_intact(text, beside)
