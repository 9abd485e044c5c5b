"""A command that is interrupted: what it started is ended, and what it leaves is named"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator, List, NoReturn, Sequence

from container.shell_word import shell_word
from container.trouble import Trouble, first_of
from manifests.cli.command_line import note
from manifests.host.context import HostContext
from manifests.host.interrupts import Ended, exit_code_of, words_of
from manifests.record.run_files import RunFiles

if TYPE_CHECKING:
    from manifests.flows.started_jobs import Living


@contextmanager
def in_foreground(runs: Sequence[RunFiles], host: HostContext, folder: str = "") -> Iterator[None]:
    """Ctrl-C in the block ends the jobs of ``runs`` too, as in a foreground command. They outlive
    SIGTERM and SIGHUP. ``folder``: where slices lie, which the runs are."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        ended_by_interrupt(interrupt, runs, host, folder)


def ended_by_interrupt(
    interrupt: KeyboardInterrupt, runs: Sequence[RunFiles], host: HostContext, folder: str = ""
) -> NoReturn:
    """Raises the interrupt again where no job was started."""
    from manifests.flows.started_jobs import end_jobs, living_jobs

    if isinstance(interrupt.__context__, Trouble):  # it was held back when that was raised
        note(str(interrupt.__context__))
    if not any(files.job.exists() for files in runs):
        raise interrupt
    if isinstance(interrupt, Ended):
        ended, living = 0, living_jobs(runs, host)
    else:
        several = "the jobs are" if folder else "the job is"
        ended, living = end_jobs(
            runs, host, lambda: note(f"interrupted: {several} being cancelled")
        )
    kept = f"the slices stay in {folder}" if folder else f"its run stays in {runs[0].root}"
    lines = what_became(ended, living, kept, several=bool(folder))
    if not folder and not living:
        lines.append(next_step(runs[0], cancelled=ended > 0))
    note(f"{words_of(interrupt)}: " + "\n".join(lines))
    sys.exit(exit_code_of(interrupt))


def what_became(ended: int, living: Sequence[Living], kept: str, *, several: bool) -> List[str]:
    jobs, was = ("the jobs", "were") if several else ("the job", "was")
    if not living:
        return [f"{jobs} {f'{was} cancelled' if ended else 'had ended before'}; {kept}"]
    reasons = dict.fromkeys(one.why for one in living if one.why)
    hints = [
        f"-> to end job {', '.join(one.job.ids)}: "
        f"python bundle.py cancel {shell_word(one.files.root)}"
        for one in living
    ]
    go_on = "may go on" if reasons else "go on" if several else "goes on"
    some = f"{len(living)} of {jobs} {go_on}" if several else f"{jobs} {go_on}"
    return ["; ".join([some, kept]), *first_of(list(reasons)), *first_of(hints)]


def next_step(files: RunFiles, *, cancelled: bool) -> str:
    from manifests.rundir.records import read_manifest

    run = shell_word(files.root)
    first = read_manifest(files).circumstance.rerun_of
    if cancelled:
        return f"-> to go on: python bundle.py resume {run}"
    if first and files.done.exists():
        return f"-> for its verdict: python bundle.py compare {shell_word(first)} {run}"
    return f"-> to see it: python bundle.py show {run}"
