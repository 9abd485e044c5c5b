"""A job watched from the terminal that started it.

What judges and draws a finished run is imported then: `submit` does not need it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, NoReturn, Sequence

from container.shell_word import shell_word
from jobtemplates.schedulers import backend_named
from manifests.cli.command_line import as_json, called, note, say, say_next, warn
from manifests.host.context import HostContext
from manifests.record.json_numbers import not_finite_text
from manifests.record.run_files import RunFiles
from manifests.rundir.job import Job
from manifests.rundir.records import read_manifest, read_result

if TYPE_CHECKING:
    from manifests.verdict.code_difference import FileDifference
    from manifests.verdict.comparison import Comparison


def say_started(
    files: RunFiles,
    job: Job,
    facts: Dict[str, Any],
    host: HostContext,
    wait: bool,
    json_wanted: bool,
    after: int = 0,
) -> None:
    """Print ``facts`` of what was started. With ``wait`` show its output after ``after`` bytes, and
    plot it at the end."""
    if not json_wanted:
        here = backend_named(job.backend).runs_here
        say(f"run  {files.root}")
        say(f"job  {job.id} {'on ' + job.host if here else 'of ' + job.backend}")
        if job.chain:
            say(f"then {', '.join(job.chain)}, each where the one before was stopped")
    facts = {**facts, "job": job.id, **({"chain": job.chain} if job.chain else {})}
    if not wait:
        if json_wanted:
            as_json(facts)
        else:
            say_next(f"python bundle.py logs -f {shell_word(files.root)}")
        return
    code = wait_for_job(files, host, json_wanted, after)
    repeated = read_manifest(files).circumstance.rerun_of
    from manifests.cli.plot import plot_at_the_end
    from manifests.report.write import report_at_the_end

    if code == 0 and repeated:  # a rerun that was stopped on its way: its verdict is due now
        from manifests.flows.judgement import judge

        comparison = judge(Path(repeated), files, warn)
        note_report(files, host)
        print_comparison(comparison, json_wanted)
    picture = plot_at_the_end(files, host.cache.matplotlib, warn)
    page = report_at_the_end(files, host, warn)
    drawn = {"plot": picture, "report": page}
    if json_wanted:
        paths = {name: path and str(path) for name, path in drawn.items()}
        as_json({**facts, "exit_code": code, **paths})
    else:
        for name, path in drawn.items():
            if path:
                say(f"{name} {path}")
    sys.exit(code)


def wait_for_job(
    files: RunFiles, host: HostContext, to_stderr: bool = False, after: int = 0
) -> int:
    """Show the job's output after so many bytes of it until it ends."""
    from manifests.flows.explain import explain_failure
    from manifests.flows.follow import exit_code_of, follow

    for line in follow(files, "stdout", host, after, note):
        say(line, err=to_stderr)
    code = exit_code_of(files, host)
    if code != 0:
        note(explain_failure(files))
    elif files.result.exists():
        odd = not_finite_text(read_result(files, warn).metrics)
        if odd:
            warn(f"results/log.jsonl, last row: {odd}")
    return code


def note_report(files: RunFiles, host: HostContext) -> None:
    """Write the page on a rerun that has just been judged, and say where it lies."""
    from manifests.report.write import report_at_the_end

    page = report_at_the_end(files, host, warn)
    if page is not None:
        note(f"report {page}")


def print_comparison(
    comparison: Comparison,
    json_wanted: bool,
    code: Sequence[FileDifference] = (),
    *,
    full: bool = False,
) -> NoReturn:
    """Print it, with what differs in the code, and exit with the verdict's code."""
    from manifests.verdict.compare import exit_code, lines

    if json_wanted:
        diffs = {item.name: item.diff for item in code}
        as_json({**comparison.model_dump(mode="json"), **({"code": diffs} if diffs else {})})
    else:
        step = f"-> {comparison.next_step}"
        for line in lines(comparison, code, full=full):
            say(called(line) if line == step else line)
    sys.exit(exit_code(comparison.verdict))
