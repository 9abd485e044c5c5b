"""A job watched from the terminal that started it.

What judges and draws a finished run is imported then: `submit` has no use for it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, NoReturn

from manifests.command_line import as_json, note, say, warn
from manifests.job import Job
from manifests.launch import cancel_run, exit_code_of, explain_failure, follow
from manifests.records import read_manifest
from manifests.schema import RunFiles
from manifests.surroundings import Surroundings

if TYPE_CHECKING:
    from manifests.comparison import Comparison


def say_started(
    files: RunFiles,
    job: Job,
    told: Dict[str, Any],
    world: Surroundings,
    wait: bool,
    json_wanted: bool,
    after: int = 0,
) -> None:
    """Tell what was started; with ``wait`` show its output, ``after`` bytes of it, and plot it."""
    if not json_wanted:
        say(f"run  {files.root}")
        say(f"job  {job.id} {'on ' + job.host if job.backend == 'local' else 'of ' + job.backend}")
        if job.chain:
            say(f"then {', '.join(job.chain)}, each where the one before was stopped")
    told = {**told, "job": job.id, **({"chain": job.chain} if job.chain else {})}
    if not wait:
        if json_wanted:
            as_json(told)
        else:
            say(f"-> python bundle.py logs -f {files.root}")
        return
    code = wait_for(files, world, json_wanted, after)
    repeated = read_manifest(files).circumstance.rerun_of
    from manifests.plot import plot_at_the_end

    if code == 0 and repeated:  # a rerun that was stopped on its way: its verdict is due now
        from manifests.rerun import judge

        print_comparison(judge(Path(repeated), files, warn), json_wanted)
    picture = plot_at_the_end(files, world.cache.matplotlib, warn)
    if json_wanted:
        as_json({**told, "exit_code": code, "plot": picture and str(picture)})
    elif picture:
        say(f"plot {picture}")
    sys.exit(code)


def wait_for(files: RunFiles, world: Surroundings, to_stderr: bool = False, after: int = 0) -> int:
    """Show the job's output after so many bytes of it until it ends.

    Ctrl-C ends the job too, as in a foreground command.
    """
    try:
        for line in follow(files, "stdout", world, after):
            say(line, err=to_stderr)
    except KeyboardInterrupt:
        cancel_run(files, world)
        note(f"interrupted: the job was cancelled; its run stays in {files.root}")
        sys.exit(130)
    code = exit_code_of(files, world)
    if code != 0:
        note(explain_failure(files))
    return code


def print_comparison(comparison: Comparison, json_wanted: bool) -> NoReturn:
    from manifests.compare import exit_code, lines

    if json_wanted:
        as_json(comparison.model_dump(mode="json"))
    else:
        for line in lines(comparison):
            say(line)
    sys.exit(exit_code(comparison.verdict))
