#!/usr/bin/env python3
"""bundle: training runs that can be run again, bit for bit. This file is the command line."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent


def enter_own_environment() -> None:
    """Go on under the project's own Python, whichever one this is; say how to make it if it is not.

    This part must run on any python3, so it uses nothing but the standard library.
    """
    own = PROJECT / ".venv"
    python = own / "bin" / "python"
    if Path(sys.prefix).resolve() == own.resolve():
        return
    made = os.access(own / ".installed", os.F_OK) and os.access(python, os.X_OK)
    if not made or os.environ.get("BUNDLE_ENTERED") == str(own):
        sys.stderr.write(
            f"bundle: its own environment is not there or not complete: {own}\n"
            f"-> run: make -C '{PROJECT}' setup\n"
        )
        sys.exit(2)
    os.environ["BUNDLE_ENTERED"] = str(own)
    os.execv(python, [str(python), str(PROJECT / "bundle.py"), *sys.argv[1:]])


if __name__ == "__main__":
    enter_own_environment()
    os.environ.pop("BUNDLE_ENTERED", None)
    # Python would look through all objects for garbage at the end, which takes as long as a verb.
    atexit.register(gc.freeze)

from dataclasses import asdict
from typing import Any, Dict, List, NoReturn, Optional, Tuple

import click

from container import atomic
from container.process import CommandFailed
from container.trouble import Trouble, fault_of
from manifests.checks.verbs import doctor
from manifests.command_line import (
    CHAIN,
    DRY,
    GROUP,
    JSON,
    MIRROR,
    MOVED,
    RUN,
    STACK,
    around,
    as_json,
    note,
    say,
    warn,
)
from manifests.datasets.verbs import data
from manifests.surroundings import TOOL_VERSION
from manifests.terminal import table


def give_up(error: Trouble | CommandFailed) -> NoReturn:
    note(str(error))
    sys.exit(getattr(error, "exit_code", 2))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(TOOL_VERSION, prog_name="bundle")
def cli() -> None:
    """Training runs that can be run again, bit for bit, on real clusters.

    build -> submit -> rerun. Exit codes: 0 done or identical, 1 diverged, 2 trouble,
    3 inconclusive; a job that was waited for passes its own code on.
    """


cli.add_command(data)
cli.add_command(doctor)


@cli.command()
@STACK
@MIRROR
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Copy the image there too.")
@DRY
@JSON
def build(
    stack: str, mirror: Optional[str], output: Optional[Path], dry_run: bool, json_wanted: bool
) -> None:
    """Build the image of a stack from its lock; the same lock gives the same bytes."""
    from manifests.image_source import build_stack, describe_build

    world = around()
    if dry_run:
        outlook = describe_build(stack, world)
        if json_wanted:
            as_json(outlook.values())
        else:
            say("\n".join(outlook.lines()))
        return
    image = build_stack(stack, world, mirror=mirror, output=output)
    if json_wanted:
        as_json({**asdict(image), "path": str(image.path)})
        return
    say(f"{'built' if image.fresh else 'up to date'}: {image.path}")
    say(f"sha256 {image.sha256}")


@cli.command()
@STACK
@MIRROR
@DRY
def lock(stack: str, mirror: Optional[str], dry_run: bool) -> None:
    """Resolve a stack anew from this machine's mirrors and write its lock."""
    from manifests.image_source import write_lock

    for line in write_lock(stack, around(), mirror=mirror, dry_run=dry_run):
        say(line)


@cli.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--wait", is_flag=True, help="Stay until the job ends and show its output.")
@click.option(
    "--out", "script_name", type=click.Path(path_type=Path), help="Also write the job script there."
)
@GROUP
@CHAIN
@DRY
@JSON
def submit(
    config: Path,
    wait: bool,
    script_name: Optional[Path],
    group: Optional[str],
    chain: int,
    dry_run: bool,
    json_wanted: bool,
) -> None:
    """Snapshot CONFIG, code and data into a run directory and start its job."""
    from manifests.foreground import say_started
    from manifests.launch import start_new, write_run
    from manifests.overview import remember_out
    from manifests.placing import chain_warnings
    from manifests.submit import plan_submit

    world = around()
    plan = plan_submit(config, world, group=group, read_only=dry_run)
    for warning in [*plan.warnings, *chain_warnings(plan.placement, chain)]:
        warn(warning)
    told: Dict[str, Any] = {"run": str(plan.files.root), "identity": plan.manifest.identity_digest}
    if dry_run:
        if json_wanted:
            as_json({**told, "script": plan.script})
        else:
            click.echo(plan.script, nl=False)
        return
    if script_name is None:
        files = write_run(plan)
    else:
        # The script gets its name only if the run is there, and the run is there only if the
        # script can be written.
        with atomic.replacing(script_name) as stream:
            stream.write(plan.script.encode("utf-8"))
            files = write_run(plan)
            stream.seek(0)
            stream.write(files.job_script.read_bytes())  # of the name that it got: as long
    told["run"] = str(files.root)
    remember_out(world.cache, files.root.parent)
    job = start_new(files, world, chain)
    say_started(files, job, told, world, wait, json_wanted)


@cli.command()
@RUN
@click.option("--wait", is_flag=True, help="Stay until the job ends and show its output.")
@GROUP
@CHAIN
@DRY
@JSON
def resume(
    run: Path, wait: bool, group: Optional[str], chain: int, dry_run: bool, json_wanted: bool
) -> None:
    """Go on with RUN where it stopped, failed or was killed: the same job, from its checkpoint."""
    from manifests.foreground import say_started
    from manifests.launch import logs_of, start_run
    from manifests.placing import chain_warnings
    from manifests.resume import alone, plan_resume
    from manifests.rundir import find_run

    world = around()
    with alone(find_run(str(run))) as files:
        plan = plan_resume(run, world, warn, group=group)
        for warning in chain_warnings(plan.placement, chain):
            warn(warning)
        told = {"run": str(files.root), "step": plan.step, "steps": plan.steps}
        if not json_wanted:
            note(plan.text())
        if dry_run:
            if json_wanted:
                as_json(told)
            return
        written = {path: path.stat().st_size for path in files.logs.iterdir()}
        job = start_run(files, world, chain, plan.placement)
    after = written.get(logs_of(files, "stdout")[0], 0)
    say_started(files, job, told, world, wait, json_wanted, after)


@cli.command("list")
@click.argument("outs", nargs=-1, type=click.Path(path_type=Path))
@JSON
def list_(outs: Tuple[Path, ...], json_wanted: bool) -> None:
    """List runs, newest last: those below OUTS, or all that were submitted from this account."""
    from manifests.overview import LIST_COLUMNS, list_rows

    rows = list_rows(list(outs), around(), warn)
    if json_wanted:
        as_json(rows)
    else:
        say(table(rows, LIST_COLUMNS))


@cli.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Show it again and again while a run goes on.")
@JSON
def status(runs: Tuple[Path, ...], watch: bool, json_wanted: bool) -> None:
    """Show how far RUNS are; without RUNS, all that were submitted and have not ended."""
    from manifests.overview import status_columns, status_rows
    from manifests.watching import watched

    world = around()
    for rows in (
        watched(list(runs), world, warn) if watch else [status_rows(list(runs), world, warn)]
    ):
        if watch and sys.stdout.isatty():
            click.clear()
        if json_wanted:
            as_json(rows)
        else:
            say(table(rows, status_columns(rows)) if rows else "no run is under way")


@cli.command()
@RUN
@JSON
def show(run: Path, json_wanted: bool) -> None:
    """Show what RUN is and what came out of it."""
    from manifests.overview import show_lines, show_values

    if json_wanted:
        as_json(show_values(run, around(), warn))
        return
    for line in show_lines(run, around(), warn):
        say(line)


@cli.command()
@RUN
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the job ends.")
@click.option("--stderr", is_flag=True, help="Standard error instead of standard output.")
def logs(run: Path, following: bool, stderr: bool) -> None:
    """Print what the job of RUN printed."""
    from manifests.launch import follow, log_of
    from manifests.rundir import find_run

    files = find_run(str(run))
    stream = "stderr" if stderr else "stdout"
    log = log_of(files, stream)
    if following:
        for line in follow(files, stream, around()):
            say(line)
    elif log.exists():
        click.echo(log.read_text(encoding="utf-8", errors="replace"), nl=False)
    else:
        raise Trouble(f"{log}: is not there yet", "the job has not begun to write")


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write the figure there: .pdf, .png or .svg (default: plot.png in the one run).",
)
def plot(runs: Tuple[Path, ...], output: Optional[Path]) -> None:
    """Draw loss and accuracy of RUNS over the epochs, all in one figure."""
    from manifests.plot import plot_runs

    say(str(plot_runs(list(runs), output, around().cache.matplotlib, warn)))


@cli.command()
@RUN
def cancel(run: Path) -> None:
    """End the job of RUN."""
    from manifests.launch import cancel_run
    from manifests.rundir import find_run

    files = find_run(str(run))
    say("cancelled" if cancel_run(files, around()) else "had ended before")


@cli.command()
@RUN
@MOVED
@MIRROR
@click.option("--site", help="Run at this site instead of the one recorded.")
@GROUP
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the new run (default: beside RUN)."
)
@click.option("--other-gpu", is_flag=True, help="On any GPU; a difference is then inconclusive.")
@DRY
@JSON
def rerun(
    run: Path,
    moved: Tuple[str, ...],
    mirror: Optional[str],
    site: Optional[str],
    group: Optional[str],
    out: Optional[Path],
    other_gpu: bool,
    dry_run: bool,
    json_wanted: bool,
) -> None:
    """Run RUN again from its own snapshot, config and image; say whether the bits are the same.

    Exit code: 0 identical, 1 diverged, 2 cannot run, 3 inconclusive.
    """
    from manifests.foreground import print_comparison, wait_for
    from manifests.launch import start_new, write_run
    from manifests.overview import remember_out
    from manifests.rerun import CannotRun, cannot_run, judge, parse_moved, plan_rerun

    world = around()
    try:
        plan = plan_rerun(
            run,
            world,
            moved=parse_moved(moved),
            out=out,
            site_name=site,
            group=group,
            mirror=mirror,
            other_gpu=other_gpu,
            read_only=dry_run,
            warn=warn,
        )
    except CannotRun as error:
        print_comparison(cannot_run(run, error), json_wanted)
    for warning in plan.warnings:
        warn(warning)
    if dry_run:
        click.echo(plan.script, nl=False)
        return
    files = write_run(plan)
    remember_out(world.cache, files.root.parent)
    start_new(files, world)
    note(f"running again in {files.root}")
    try:
        wait_for(files, world, json_wanted)
    except Trouble as error:
        note(str(error))
    # A rerun that failed is judged too: an exit code of 1 must mean diverged and nothing else.
    print_comparison(judge(run, files, warn), json_wanted)


@cli.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@JSON
def compare(first: Path, second: Path, json_wanted: bool) -> None:
    """Say whether two runs gave the same bits, or the first step where they do not."""
    from manifests.foreground import print_comparison
    from manifests.rerun import compare_runs

    print_comparison(compare_runs(first, second, warn), json_wanted)


@cli.command()
@RUN
@MOVED
@click.option("--no-data", is_flag=True, help="Do not read the images of the data set.")
@JSON
def verify(run: Path, moved: Tuple[str, ...], no_data: bool, json_wanted: bool) -> None:
    """Hold everything in RUN against its manifest and name every mismatch."""
    from manifests.rerun import parse_moved, verify_whole

    problems = verify_whole(
        run, around(), moved=parse_moved(moved), check_data=not no_data, warn=warn
    )
    if json_wanted:
        as_json({"run": str(run), "problems": problems})
    else:
        end = f"{len(problems)} mismatches" if problems else "verified: nothing differs"
        say("\n".join([*problems, end]))
    sys.exit(1 if problems else 0)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"))
@MIRROR
def demo(folder: Path, mirror: Optional[str]) -> None:
    """Build, train, rerun, compare: the whole tool on handwritten digits, in FOLDER."""
    from manifests.demo import run_demo
    from manifests.foreground import wait_for

    sys.exit(run_demo(folder, around(), mirror=mirror, say=say, wait=wait_for))


def main(arguments: Optional[List[str]] = None) -> None:
    try:
        # Not cli.main(): on a closed pipe it exits with 1, which means diverged here.
        with cli.make_context("bundle.py", sys.argv[1:] if arguments is None else arguments) as at:
            cli.invoke(at)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (Trouble, CommandFailed) as error:
        give_up(error)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        note("interrupted; nothing half-written was left")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        give_up(Trouble(f"{name}{error.strerror}", "see to the file system, then try again"))
    except Exception as error:
        give_up(fault_of(error))


if __name__ == "__main__":
    main()
