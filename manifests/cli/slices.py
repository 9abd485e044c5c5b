"""`rerun` with slices: what was asked for, and the jobs of all slices watched to their verdict"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Optional, Sequence

from container.shell_word import shell_word, shell_words
from container.trouble import Trouble
from manifests.cli.command_line import as_json, note, say, warn
from manifests.cli.foreground import print_comparison
from manifests.cli.interrupted import in_foreground
from manifests.flows.cannot_run import CannotRun
from manifests.flows.gathering import Gathering, verdict_on
from manifests.flows.judgement import not_rerun
from manifests.flows.slice_folder import only_gatherer, read_slices
from manifests.flows.slices import SetPlan, plan_slices, write_slices
from manifests.host.context import HostContext
from manifests.record.communicators import counted
from manifests.record.slice_set import SetFiles, SliceOptions
from manifests.rundir.directory import find_run
from manifests.rundir.submission import Refused


@dataclass(frozen=True)
class SliceArguments:
    """The options of `rerun` that divide a run; one of them at most."""

    slices: Optional[int] = None
    sample: Optional[int] = None
    seed: Optional[str] = None
    gather: Sequence[Path] = ()
    alone: bool = False  # --from-step or --to-step
    swapped: bool = False  # --with

    @property
    def wanted(self) -> bool:
        return self.slices is not None or self.sample is not None or bool(self.gather)

    def check(self) -> None:
        """Raise Trouble for options that exclude each other."""
        given = {
            "--slices": self.slices is not None,
            "--sample": self.sample is not None,
            "--gather": bool(self.gather),
            "--from-step or --to-step": self.alone,
        }
        names = [name for name, there in given.items() if there]
        problems = []
        if len(names) > 1:
            problems.append(f"{', '.join(names)}: only one of them")
        if self.seed is not None and self.sample is None:
            problems.append("--seed: draws slices, and needs --sample K")
        if names and self.swapped and not self.alone:
            problems.append(
                f"{names[0]}: not together with --with: "
                "no slice would end on the state with which the next one begins"
            )
        if problems:
            raise Trouble(problems, "see: rerun --help")


def by_slices(
    run: Path,
    host: HostContext,
    asked: SliceArguments,
    options: SliceOptions,
    *,
    out: Optional[Path],
    dry_run: bool,
    json_wanted: bool,
) -> None:
    """Check a run by slices; ends with the verdict's exit code unless nothing is to be run."""
    try:
        if asked.gather:
            gather(run, host, asked.gather, json_wanted)
        seed = asked.seed
        if asked.sample is not None and seed is None:
            seed = secrets.token_hex(8)
        plan = plan_slices(
            run, host, options, count=asked.slices, sample=asked.sample, seed=seed, out=out,
            read_only=dry_run, warn=warn,
        )  # fmt: skip
    except CannotRun as error:
        print_comparison(not_rerun(run, error), json_wanted)
    for text in plan.warnings:
        warn(text)
    for text in plan.notes:
        note(text)
    if dry_run:
        print_plan(plan, host, json_wanted)
        return
    root = plan.files.root
    note(f"{counted(len(plan.plans), 'slice')} in {root}")
    words = shell_words(["python", "bundle.py", "rerun", plan.record.run, "--gather", root])
    note(f"if this is interrupted, the slices are gathered with: {words}")
    watch(write_slices(plan), host, json_wanted, fresh=True)


def print_plan(plan: SetPlan, host: HostContext, json_wanted: bool) -> None:
    script = plan.array_script(host)
    if json_wanted:
        record = plan.record.model_dump(mode="json")
        as_json({**record, "folder": str(plan.files.root), "array_script": script})
        return
    for (after, end), one in zip(plan.record.slices, plan.plans):
        say(f"steps {after + 1}..{end} of {plan.record.steps} on site {one.placement.site}")
    say(f"in {plan.files.root}")
    if script is not None:
        say(f"as one job array, with this script:\n\n{script.rstrip()}")


def gather(run: Path, host: HostContext, paths: Sequence[Path], json_wanted: bool) -> NoReturn:
    """Go on with a folder of slices, or judge slices that were made one by one."""
    if len(paths) == 1 and SetFiles(paths[0]).plan.is_file():
        record = read_slices(paths[0], warn)
        if record.identity_digest != identity_of(run):
            raise Trouble(
                f"{paths[0]}: has slices of {record.run}, a run of another identity",
                f"gather them for that run: rerun {shell_word(record.run)} --gather {paths[0]}",
            )
        watch(SetFiles(paths[0].resolve()), host, json_wanted, run)
    print_comparison(verdict_on(run, paths, warn), json_wanted)


def identity_of(run: Path) -> str:
    from manifests.rundir.records import read_manifest

    return read_manifest(find_run(str(run)), warn).identity_digest


def watch(
    files: SetFiles,
    host: HostContext,
    json_wanted: bool,
    run: Optional[Path] = None,
    fresh: bool = False,
) -> NoReturn:
    """Start and wait for the slices of a folder. Ctrl-C ends their jobs too. A ``fresh`` folder is
    gone again where no job of it could be started."""
    with only_gatherer(files.root):
        gathering = Gathering(files.root, host, note, warn, run)
        with in_foreground(gathering.runs, host, str(files.root)):
            try:
                verdict = gathering.wait()
            except Refused:
                if fresh and not gathering.begun:
                    shutil.rmtree(files.root, ignore_errors=True)  # a job may still be ending there
                raise
            note_page(files, host)
            print_comparison(verdict, json_wanted)


def note_page(files: SetFiles, host: HostContext) -> None:
    """Write the page on the run and its slices, and say where it lies."""
    from manifests.report.write import report_on_slices

    page = report_on_slices(files, host, warn)
    if page is not None:
        note(f"report {page}")
