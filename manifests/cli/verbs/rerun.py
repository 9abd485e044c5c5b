"""``bundle.py rerun``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import List, Optional, Tuple

import click

from container.trouble import Trouble
from manifests.cli.command_line import (
    DRY,
    GROUP,
    JSON,
    MIRROR,
    MOVED,
    NODES,
    PATH,
    PROCESSES,
    RUN,
    host_context,
    note,
    sites_that_begin,
    warn,
)


def parts_that_begin(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> List[str]:
    from manifests.flows.swap import PARTS, SWAPPED_KEYS

    words = [*PARTS, *(f"{key}=" for key in sorted(SWAPPED_KEYS))]
    return [word for word in words if word.startswith(incomplete)]


@click.command()
@RUN
@MOVED
@MIRROR
@click.option(
    "--site",
    shell_complete=sites_that_begin,
    help="Site to run at (default: as recorded).",
)
@PROCESSES
@NODES
@GROUP
@click.option("--out", type=PATH, help="Folder for the new run (default: beside RUN).")
@click.option("--from-step", type=int, metavar="S", help="Run the steps after S only (default: 0).")
@click.option("--to-step", type=int, metavar="T", help="Run the steps up to T only.")
@click.option("--slices", type=int, metavar="K", help="Check all of RUN in K jobs side by side.")
@click.option("--sample", type=int, metavar="K", help="Check K slices of RUN, drawn at random.")
@click.option("--seed", metavar="Z", help="Seed of that draw (default: a random one).")
@click.option(
    "--gather",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Go on with a folder of slices, or judge single slices together.",
)
@click.option(
    "--with",
    "parts",
    multiple=True,
    metavar="PART",
    shell_complete=parts_that_begin,
    help="Swap code, image or data for today's, or KEY=VALUE of the config.",
)
@click.option(
    "--bisect",
    is_flag=True,
    expose_value=False,  # bundle.py sees to it, whatever ends the verb
    help="For git bisect: exit code 125 where it cannot judge.",
)
@click.option(
    "--zoom", is_flag=True, help="If the bits differ: run that step again, layer by layer."
)
@click.option("--other-gpu", is_flag=True, help="Allow any GPU; a difference is then inconclusive.")
@click.option("--emulate", metavar="MODEL", help="Run on a processor that QEMU emulates: Haswell.")
@DRY
@JSON
def rerun(
    run: Path,
    moved: Tuple[str, ...],
    mirror: Optional[str],
    site: Optional[str],
    group: Optional[str],
    out: Optional[Path],
    processes: Optional[int],
    nodes: Optional[int],
    from_step: Optional[int],
    to_step: Optional[int],
    slices: Optional[int],
    sample: Optional[int],
    seed: Optional[str],
    gather: Tuple[Path, ...],
    parts: Tuple[str, ...],
    zoom: bool,
    other_gpu: bool,
    emulate: Optional[str],
    dry_run: bool,
    json_wanted: bool,
) -> None:
    """Run RUN again and compare the bits. It uses RUN's own snapshot, config and image.

    --from-step and --to-step check some steps alone, from a state that RUN kept; --slices checks
    all of them in parts.

    --with swaps parts on purpose: identical then says that the change did not matter.
    --zoom of a rerun that diverged names the first layer, tensor and rank.

    Exit code: 0 identical, 1 diverged, 2 cannot run, 3 inconclusive.
    """
    from manifests.cli.foreground import note_report, print_comparison, wait_for_job
    from manifests.cli.interrupted import in_foreground
    from manifests.cli.slices import SliceArguments, by_slices
    from manifests.cli.zoom import first_script, zoom_in
    from manifests.flows.cannot_run import CannotRun
    from manifests.flows.judgement import judge, not_rerun
    from manifests.flows.plan import write_run
    from manifests.flows.recorded_data import parse_moved
    from manifests.flows.rerun import RerunRequest, plan_rerun
    from manifests.flows.start import start_new
    from manifests.flows.swap import parse_swap
    from manifests.flows.zoom import diverged_pair
    from manifests.record.slice_set import SliceOptions
    from manifests.rundir.directory import find_run
    from manifests.rundir.known_outs import remember_out

    host = host_context()
    alone = (from_step, to_step) != (None, None)
    asked = SliceArguments(slices, sample, seed, gather, alone, bool(parts))
    asked.check()
    if zoom and asked.wanted:
        raise Trouble(
            "--zoom: not together with --slices, --sample or --gather",
            "zoom into the step that the slices name: rerun RUN --from-step S --to-step T --zoom",
        )
    if zoom and emulate:
        raise Trouble(
            "--zoom: not together with --emulate: it asks whether this machine agrees with itself",
            "leave one of them out",
        )
    if asked.wanted:
        options = SliceOptions(
            moved=parse_moved(moved), site=site, group=group, mirror=mirror, processes=processes,
            nodes=nodes, other_gpu=other_gpu, emulate=emulate,
        )  # fmt: skip
        by_slices(run, host, asked, options, out=out, dry_run=dry_run, json_wanted=json_wanted)
        return
    swap = parse_swap(parts, host.project, Path.cwd(), host.home)
    request = RerunRequest(
        moved=parse_moved(moved), out=out, site=site, group=group, mirror=mirror,
        other_gpu=other_gpu, processes=processes, nodes=nodes, read_only=dry_run,
    )  # fmt: skip
    pair = diverged_pair(run, warn) if zoom and not parts else None
    if pair is not None:
        files, comparison = pair
        original = find_run(comparison.a)
        words = (original, files, comparison, host, request)
        if dry_run:
            click.echo(first_script(*words), nl=False)
            return
        print_comparison(zoom_in(*words), json_wanted)
    try:
        part = (from_step or 0, to_step) if alone else None
        once = replace(request, steps=part, swap=swap, emulate=emulate)
        plan = plan_rerun(run, host, once, warn)
    except CannotRun as error:
        print_comparison(not_rerun(run, error), json_wanted)
    if dry_run:
        from manifests.cli.outlook_text import say_outlook

        say_outlook(plan, host)
    for warning in plan.warnings:
        warn(warning)
    for text in plan.notes:
        note(text)
    if dry_run:
        click.echo(plan.script, nl=False)
        return
    files = write_run(plan)
    with in_foreground([files], host):
        start_new(files, host, warn=warn)
        remember_out(host.cache, files.root.parent, warn)
        note(f"running again in {files.root}")
        try:
            wait_for_job(files, host, json_wanted)
        except Trouble as error:
            note(str(error))
        # A rerun that failed is judged too: an exit code of 1 must mean diverged and nothing else.
        comparison = judge(run, files, warn)
        note_report(files, host)
    if zoom and comparison.verdict == "diverged":
        try:
            comparison = zoom_in(find_run(str(run)), files, comparison, host, request)
        except Trouble as error:
            note(str(error))
    print_comparison(comparison, json_wanted)
