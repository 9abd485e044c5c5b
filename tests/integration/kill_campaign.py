"""Tiny runs killed at random moments, resumed, and held against one never killed: `make kills`.

    python -m tests.integration.kill_campaign [--kills 100] [--seed 1] [--only RUN] [--work FOLDER]

Each run gets up to three kills: one process of its job, or all of them, and one signal, at a moment
of its life. Nothing may hang, nothing may be lost or left behind, and the bits at the end must be
those of the run that was never killed. Every choice follows from seed and number of the run, which
are printed: `--seed S --only RUN` makes the same choices again. How far the job is at that moment
depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from jobtemplates import local
from manifests.record.run_files import RunFiles
from tests.integration.conftest import Bench, make_images

SIGNALS = (
    signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2,
)  # fmt: skip

#: Parts of a job, from the outside to the inside; ``all`` is each of its processes.
VICTIMS = (
    "supervisor", "script", "mpirun", "daemon", "container", "helper", "guard", "rank",
    "fork server", "loader", "all",
)  # fmt: skip

MOST_KILLS = 3

#: A job that lives so many seconds and ten times as long as a whole one hangs.
PATIENCE = 60.0


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    command: str
    words: str


@dataclass(frozen=True)
class Kill:
    """``moment`` is a part of the life of a job that is not killed; ``order`` is that in which
    victims are looked for: the first that is there then is taken."""

    moment: float
    number: signal.Signals
    order: Tuple[str, ...]
    choice: float


@dataclass
class Campaign:
    """``whole``: seconds that a job lives which is not killed, as last seen. ``keeps``: right runs
    stay too."""

    bench: Bench
    seed: int
    keeps: bool = True
    whole: float = 0.0
    digests: Dict[str, Any] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    problems: List[str] = field(default_factory=list)
    kills: int = 0
    resumed: int = 0
    runs: int = 0

    def problem(self, text: str) -> None:
        print(f"PROBLEM seed {self.seed}, {text}", flush=True)
        self.problems.append(text)


def planned(seed: int, run: int) -> List[Kill]:
    """The kills of one run."""
    dice = random.Random(f"{seed}/{run}")
    return [
        Kill(
            moment=dice.random(),
            number=dice.choice(SIGNALS),
            order=tuple(dice.sample(VICTIMS, len(VICTIMS))),
            choice=dice.random(),
        )
        for _ in range(dice.randint(1, MOST_KILLS))
    ]


# --- the processes of a job -----------------------------------------------------------------


def processes_of(job_id: str) -> List[Process]:
    """Of the session of a job, and all below them."""
    everyone = {process.pid: process for process in read_all()}
    found = {process.pid for process in local.session_of(job_id)}
    grown = True
    while grown:
        below = {x.pid for x in everyone.values() if x.parent in found}
        grown = not below <= found
        found |= below
    return [everyone[pid] for pid in sorted(found) if pid in everyone]


def read_all() -> Iterator[Process]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                before, _, after = (path / "stat").read_text(errors="replace").rpartition(")")
                words = (
                    (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                command = before.partition("(")[2]
                if words:  # neither a zombie nor the kernel's
                    yield Process(int(path.name), int(after.split()[1]), command, words)


def part_of(process: Process, others: List[Process]) -> str:
    """Which of VICTIMS a process of a job is; "" for one that is none of them."""
    parents = {other.pid: other for other in others}
    parent = parents.get(process.parent)
    words = process.words
    if "/supervisor.py " in words:
        return "supervisor"
    if process.command in ("mpirun", "orterun", "prterun"):
        return "mpirun"
    if process.command in ("orted", "prted"):
        return "daemon"
    if process.command in local.MOUNT_HELPERS:
        return "helper"
    if process.command in ("starter", "starter-suid", "apptainer", "singularity"):
        return "container"
    if "multiprocessing.forkserver" in words:
        above = parent is not None and "multiprocessing.forkserver" in parent.words
        return "loader" if above else "fork server"
    if " -m trainer" in words:
        return "rank" if parent is not None and " -m trainer" in parent.words else "guard"
    return "script" if words.startswith("bash ") else ""


def strike(kill: Kill, job_id: str) -> str:
    """Send the signal; what was hit, "" where nothing lives any more."""
    there = processes_of(job_id)
    if not there:
        return ""
    parts: Dict[str, List[Process]] = {"all": there}
    for process in there:
        parts.setdefault(part_of(process, there), []).append(process)
    victim = next(name for name in kill.order if name in parts)
    hit = parts[victim]
    if victim != "all":
        hit = [hit[int(kill.choice * len(hit))]]
    for process in hit:
        with suppress(ProcessLookupError):
            os.kill(process.pid, kill.number)
    return victim


# --- one run --------------------------------------------------------------------------------


def job_of(files: RunFiles) -> str:
    return str(json.loads(files.job.read_text())["id"])


def submit(bench: Bench, config: Path) -> RunFiles:
    return RunFiles(Path(json.loads(bench.bundle("submit", config, "--json").stdout)["run"]))


def state_of(bench: Bench, files: RunFiles) -> str:
    return str(json.loads(bench.bundle("status", files.root, "--json").stdout)[0]["state"])


def run_once(campaign: Campaign, run: int, config: Path) -> None:
    """One run with its kills, to its end."""
    files = submit(campaign.bench, config)
    before = len(campaign.problems)
    kill_and_resume(campaign, run, files)
    if not campaign.keeps and len(campaign.problems) == before:
        shutil.rmtree(files.root)


def kill_and_resume(campaign: Campaign, run: int, files: RunFiles) -> None:
    campaign.runs += 1
    name = f"run {run} ({files.root.name})"
    limit = PATIENCE + 10 * campaign.whole
    for number, kill in enumerate([*planned(campaign.seed, run), None, None, None, None]):
        job = job_of(files)
        if kill is not None:
            begun = time.monotonic()
            if local.wait_until_gone(job, kill.moment * campaign.whole) and number == 0:
                # The machine is quicker by now: later moments would all come too late.
                campaign.whole = time.monotonic() - begun
            hit = strike(kill, job)
            if hit:
                campaign.kills += 1
                campaign.kinds[f"{kill.number.name} {hit}"] += 1
            print(f"seed {campaign.seed}, {name}: {kill.number.name} {hit or '-'}", flush=True)
        if not local.wait_until_gone(job, limit):
            lives = [process.words for process in processes_of(job)]
            campaign.problem(f"{name}: hangs after {limit:.0f} s: {lives}")
            local.cancel(job)
            return
        if files.done.exists():
            break
        state = state_of(campaign.bench, files)
        if state not in ("failed", "stopped"):
            campaign.problem(f"{name}: is {state} after its job was killed")
        resumed = campaign.bench.bundle("resume", files.root, "--json", code=None)
        if resumed.returncode != 0:
            campaign.problem(f"{name}: cannot be resumed: {resumed.stderr}")
            return
        campaign.resumed += 1
    check_end(campaign, name, files)


def check_end(campaign: Campaign, name: str, files: RunFiles) -> None:
    """Same bits, nothing lost, nothing left."""
    if not files.done.exists():
        campaign.problem(f"{name}: did not finish: {state_of(campaign.bench, files)}")
        return
    local.end_helpers(job_of(files))
    digests = json.loads(files.result.read_text())["digests"]
    for key, value in campaign.digests.items():
        if digests[key] != value:
            campaign.problem(f"{name}: {key} differs from that of the run that was not killed")
    verified = campaign.bench.bundle("verify", files.root, code=None)
    if verified.returncode != 0:
        campaign.problem(f"{name}: verify: {verified.stdout}{verified.stderr}")
    for path in left_in(files):
        campaign.problem(f"{name}: left behind: {path.relative_to(files.root)}")


def left_in(files: RunFiles) -> List[Path]:
    """What has a temporary name; the snapshot of the code has files of such names of its own."""
    return [
        path for path in files.root.rglob(".*") if path.is_file() and files.code not in path.parents
    ]


def reference(campaign: Campaign, config: Path) -> None:
    """A run that is not killed: how long its job takes, and its bits. It is kept for later."""
    kept = campaign.bench.root / "reference.json"
    if not kept.exists():
        files = submit(campaign.bench, config)
        begun = time.monotonic()
        if not local.wait_until_gone(job_of(files), 600) or not files.done.exists():
            sys.exit(f"the run that was not killed did not finish: {files.root}")
        result = json.loads(files.result.read_text())
        values = {"whole": time.monotonic() - begun, "digests": result["digests"]}
        kept.write_text(json.dumps(values))
    values = json.loads(kept.read_text())
    campaign.whole, campaign.digests = values["whole"], values["digests"]
    print(f"a whole run takes {campaign.whole:.1f} s", flush=True)


def carry_out(
    work: Path, kills: int, seed: int, only: Optional[int] = None, *, keeps: bool = True
) -> Campaign:
    """At least so many kills, or those of one run."""
    # A shell's nohup would be inherited.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(work)
    make_images(bench.data)
    config = bench.config(
        batchsize=2, epoch=2, seed=3, communicator="flat", iterator="process", loaderjob=1,
        trail_interval=3, checkpoint_interval=4, checkpoints_kept=1,
    )  # fmt: skip
    campaign = Campaign(bench, seed, keeps)
    reference(campaign, config)
    run = 0 if only is None else only
    while campaign.kills < kills or only is not None:
        run_once(campaign, run, config)
        run += 1
        if only is not None:
            break
    return campaign


def summary(campaign: Campaign) -> str:
    rows = [f"{count:5d}  {kind}" for kind, count in sorted(campaign.kinds.items())]
    total = (
        f"{campaign.kills} kills in {campaign.runs} runs, {campaign.resumed} resumptions, "
        f"{len(campaign.problems)} problems (seed {campaign.seed})"
    )
    return "\n".join([*rows, total])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="RUN", help="repeat the kills of this run")
    parser.add_argument(
        "--work", type=Path, help="keep the runs here, the one that is not killed too"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        work = asked.work or Path(scratch)
        kept = asked.work is not None
        campaign = carry_out(work.resolve(), asked.kills, asked.seed, asked.only, keeps=kept)
    print(summary(campaign))
    return 1 if campaign.problems else 0


if __name__ == "__main__":
    sys.exit(main())
