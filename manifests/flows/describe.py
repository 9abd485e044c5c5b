"""The steps of `crate`: a run's records and files looked at, its descriptions written"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterator, List, Optional

from container import atomic
from container.digest import sha256_of_file
from container.reachable import file_here
from container.trouble import Trouble
from manifests.crate.descriptions import descriptions
from manifests.crate.facts import FileFacts, RerunFacts, RunFacts
from manifests.datasets.names import is_utf8
from manifests.record.outcome import Result
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.rundir.counted_folder import refuse_counted
from manifests.rundir.directory import find_run
from manifests.rundir.provenance import outputs
from manifests.rundir.records import Warn, ignore, read_manifest, read_record, read_result
from manifests.rundir.reruns import reruns_of
from manifests.rundir.statement import (
    MANIFEST,
    RERUN_VERDICT,
    RerunVerdict,
    parse_statement,
    parse_verdict,
    statement_file_text,
)
from manifests.verdict.comparison import Comparison


def describe_run(run: Path, out: Optional[Path] = None, warn: Warn = ignore) -> List[Path]:
    """Write the descriptions of a run into its directory, or into ``out``; return their paths.

    Raises Trouble for a damaged record or a folder that cannot be written.
    """
    files = find_run(str(run))
    folder = out or files.root
    refuse_counted(folder, "name another folder with --out")
    made = descriptions(run_facts(files, warn))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            atomic.write_bytes(folder / name, content)
    except OSError as error:
        raise Trouble(
            f"{folder}: cannot be written: {error.strerror}", "name another folder with --out"
        ) from error
    return [folder / name for name in made]


def run_facts(files: RunFiles, warn: Warn = ignore) -> RunFacts:
    """What lies in the run directory, and what its statements and the reruns beside it say."""
    manifest = read_manifest(files, warn)
    result = read_result(files, warn) if file_here(files.result) else None
    known = known_digests(manifest, result)
    found = [
        FileFacts(name, (files.root / name).stat().st_size, known.get(name))
        for name in _names(files)
    ]
    return RunFacts(
        files.root.name,
        manifest,
        result,
        found,
        known_reruns(files, manifest, warn),
        failed=result is None and (file_here(files.failure) or file_here(files.exit_code)),
    )


def known_digests(manifest: Manifest, result: Optional[Result]) -> Dict[str, str]:
    """sha256 by file name, as the records have it."""
    data = manifest.identity.data
    known = {
        **manifest.companions,
        "inputs/train.tsv": data.train.sha256,
        "inputs/val.tsv": data.val.sha256,
        "inputs/mean.npy": data.mean.sha256,
    }
    if data.initmodel is not None:
        known["inputs/initmodel.npz"] = data.initmodel
    if result is not None:
        found = {item["name"]: item["digest"]["sha256"] for item in outputs("", result, "")}
        known.update({name: sha256 for name, sha256 in found.items() if sha256})
    return known


def _names(files: RunFiles) -> Iterator[str]:
    """Files that the crate names; of folders with very many files one stands for all."""
    single = (
        files.manifest, files.config, files.job_script, files.result, files.verdict, files.readme,
        files.plot, files.log, files.model, files.states,
    )  # fmt: skip
    found = [path for path in single if file_here(path)]
    for folder in (files.inputs, files.checkpoints, files.statements):
        with suppress(OSError):
            found += [path for path in folder.iterdir() if _is_part(path)]
    for folder in (files.code, files.trail, files.logs):
        with suppress(OSError):
            found += sorted(path for path in folder.rglob("*") if _is_part(path))[:1]
    return iter(sorted(path.relative_to(files.root).as_posix() for path in found))


def _is_part(path: Path) -> bool:
    """Whether a crate can name the file: JSON holds no names that are not UTF-8."""
    return path.name[0] != "." and is_utf8(path.name) and path.is_file()


# --- reruns ---------------------------------------------------------------------------------


def known_reruns(files: RunFiles, manifest: Manifest, warn: Warn = ignore) -> List[RerunFacts]:
    """By name: those whose verdicts came with the run, those beside it, those stated."""
    found = {one.name: one for one in [*_kept(files, warn), *_beside(files, manifest, warn)]}
    for one in _stated(files):
        known = found.get(one.name)
        both = [*known.statements, *one.statements] if known else one.statements
        found[one.name] = replace(known or one, statements=both)
    return [found[name] for name in sorted(found)]


def _stated(files: RunFiles) -> Iterator[RerunFacts]:
    """What statements about this run say; their signatures are `verify`'s affair."""
    manifest = sha256_of_file(files.manifest)
    for path in sorted(files.statements.glob("*.json")):
        try:
            statement = parse_statement(statement_file_text(path))
            if statement.predicate_type != RERUN_VERDICT:
                continue
            verdict = parse_verdict(statement)
        except (ValueError, FileNotFoundError):
            continue
        if statement.subject_digest(MANIFEST) == manifest:
            yield _stated_rerun(verdict, f"statements/{path.name}")


def _stated_rerun(verdict: RerunVerdict, name: str) -> RerunFacts:
    return RerunFacts(
        name=verdict.rerun.name,
        verdict=verdict.verdict,
        ended=verdict.day,
        hosts=verdict.machine.hosts,
        processor=verdict.machine.processor,
        steps=verdict.steps.part,
        statements=[name],
    )


def _kept(files: RunFiles, warn: Warn) -> Iterator[RerunFacts]:
    """Verdicts that came with an imported run."""
    for path in sorted(files.verdicts.glob("*.json")):
        try:
            verdict = read_record(path, Comparison, warn)
        except Trouble as trouble:
            warn(str(trouble))
            continue
        yield RerunFacts(path.stem, verdict.verdict, steps=_steps(verdict))


def _beside(files: RunFiles, manifest: Manifest, warn: Warn) -> Iterator[RerunFacts]:
    """Reruns in the same folder that have a verdict; a warning for damaged ones."""
    for again in reruns_of(files, manifest):
        if not file_here(again.verdict):
            continue
        try:
            verdict = read_record(again.verdict, Comparison, warn)
            result = read_result(again, warn) if file_here(again.result) else None
            circumstance = read_manifest(again, warn).circumstance
        except Trouble as trouble:
            warn(str(trouble))
            continue
        observed = result.observed if result else None
        yield RerunFacts(
            name=again.root.name,
            verdict=verdict.verdict,
            ended=observed.finished if observed else circumstance.created,
            hosts=sorted({rank.host for rank in observed.ranks}) if observed else [],
            processor=observed.cpu_model if observed else "",
            steps=_steps(verdict),
            account=circumstance.user,
        )


def _steps(verdict: Comparison) -> str:
    part = verdict.steps
    return f"steps {part.after + 1}..{part.end} of {part.of}" if part else ""
