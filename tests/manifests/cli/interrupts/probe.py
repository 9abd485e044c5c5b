"""A verb of the tests' own, the runs that it starts, and what it says"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Optional

from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from tests.records import manifest_values
from tests.typed import Typed
from tests.waiting import PATIENCE, wait_until

PROJECT = Path(__file__).resolve().parents[4]

#: A verb of its own, as `submit --wait` and `rerun --slices` are once a run is planned.
PROBE = """
import sys, time
sys.path.insert(0, {project!r})
import click
import bundle
from manifests.host import interrupts
interrupts.raise_first()
from manifests.cli.command_line import host_context, say
from manifests.cli.foreground import wait_for_job
from manifests.cli.interrupted import in_foreground
from manifests.flows.follow import job_now
from manifests.flows.slice_jobs import start_slices
from manifests.flows.start import start_new
from manifests.record.run_files import RunFiles
from manifests.record.slice_set import SetFiles
from manifests.rundir import questions
from pathlib import Path

questions.PATIENCE = {patience}
host = host_context()

@bundle.cli.command()
@click.argument("run", type=Path)
@click.argument("follow_ups", type=int, default=0)
def one(run, follow_ups):
    files = RunFiles(run)
    with in_foreground([files], host):
        start_new(files, host, follow_ups)
        say("waiting")
        sys.exit(wait_for_job(files, host))

@bundle.cli.command()
@click.argument("folder", type=Path)
def several(folder):
    runs = [RunFiles(path) for path in sorted(folder.iterdir()) if path.name != "array-1"]
    with in_foreground(runs, host, str(folder)):
        start_slices(runs, SetFiles(folder), host, ["rerun"])
        say("waiting")
        while any(job_now(one, host) for one in runs):
            time.sleep(0.1)

@bundle.cli.command()
@click.argument("run", type=Path)
def ended(run):
    files = RunFiles(run)
    with in_foreground([files], host):
        start_new(files, host)
        wait_for_job(files, host)
        say("judging")
        time.sleep(60)

bundle.main()
"""

BEGUN = "bundle: interrupted: the job is being cancelled\n"
ALL_BEGUN = "bundle: interrupted: the jobs are being cancelled\n"
STILL = "bundle: still ending what was begun; Ctrl-C once more to leave it as it is\n"
HELD = "bundle: it ends when the job that is being submitted is recorded\n"

#: Of a job's script: it has set its traps.
AT_WORK = f"touch {RunFiles(Path()).ready}; while true; do sleep 0.1; done"


def prepared(
    folder: Path, scheduler: str, script: str = "exec sleep 600", rerun_of: Optional[str] = None
) -> RunFiles:
    files = RunFiles(folder)
    files.logs.mkdir(parents=True)
    files.results.mkdir()
    values: Any = manifest_values()
    site = "local" if scheduler == "local" else "kite"
    values["circumstance"]["placement"].update(scheduler=scheduler, site=site)
    values["circumstance"]["rerun_of"] = rerun_of
    files.manifest.write_text(Manifest.model_validate(values).model_dump_json())
    files.job_script.write_text(f"#!/bin/bash\n#SBATCH --output=logs/scheduler.log\n{script}\n")
    return files


def probe(environment: dict[str, str], *words: object, patience: float = PATIENCE) -> Typed:
    text = PROBE.format(project=str(PROJECT), patience=patience)
    argv = [sys.executable, "-c", text, *map(str, words)]
    return Typed(argv, environment)


def wait_for(*paths: Path) -> None:
    wait_until(lambda: all(path.exists() for path in paths))


def job_id(files: RunFiles) -> str:
    return str(json.loads(files.job.read_text())["id"])
