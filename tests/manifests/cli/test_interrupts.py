"""Ctrl-C in a real terminal, once and again: jobs are handed over, waited for and cancelled."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

import pytest

from jobtemplates import local
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from tests.records import manifest_values
from tests.waiting import PATIENCE, wait_until

PROJECT = Path(__file__).resolve().parents[3]

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

FAKE = """#!{python} -IS
import os, sys, time
from pathlib import Path
tools = Path(__file__).parent
calls = tools / "calls"
name = Path(__file__).name
with calls.open("a") as stream:
    stream.write(" ".join([name, *sys.argv[1:]]) + chr(10))
count = calls.read_text().count(name + " ")
while (tools / f"{{name}}.holds-{{count}}").exists():
    time.sleep(0.02)
cancelled = (tools / "cancelled").exists()
if name == "sbatch":
    number = 6 + calls.read_text().count("sbatch ")
    print(number)
elif name == "squeue" and not cancelled:
    print(chr(10).join(f"{{job}}|RUNNING|None" for job in ("7", "8", "9", "7_1", "7_2", "7_3")))
elif name == "scancel":
    (tools / "cancelled").touch()
"""


class Slurm:
    """Its commands, which die of a Ctrl-C that reaches them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue", "scancel", "scontrol", "sacct"):
            (folder / name).write_text(FAKE.format(python=sys.executable))
            (folder / name).chmod(0o755)

    def holds(self, name: str, call: int = 1) -> None:
        """The call of this number does not end before :meth:`lets_go`."""
        (self.folder / f"{name}.holds-{call}").touch()

    def lets_go(self, name: str = "*") -> None:
        for path in self.folder.glob(f"{name}.holds-*"):
            path.unlink()

    def calls(self, name: str) -> List[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(f"{name} ")]

    def wait_for(self, name: str, count: int = 1) -> None:
        wait_until(lambda: len(self.calls(name)) >= count, lambda: name)


class Typed:
    """A command in a terminal of its own; ``press`` types Ctrl-C."""

    def __init__(self, argv: List[str], environment: dict[str, str]) -> None:
        self.screen = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, environment)

    def press(self) -> None:
        os.write(self.terminal, b"\x03")

    def read(self) -> bool:
        """Whether more may come."""
        if not select.select([self.terminal], [], [], 0.05)[0]:
            return True
        try:
            text = os.read(self.terminal, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.screen += text.decode().replace("\r\n", "\n")
        return bool(text)

    def wait_for(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.screen.count(text) < times:
            assert self.read() and time.monotonic() < deadline, self.screen
            assert time.monotonic() < deadline, self.screen

    def end(self) -> Tuple[int, str]:
        """Its exit code, and what it said without the terminal's echo."""
        deadline = time.monotonic() + PATIENCE
        while self.read():
            assert time.monotonic() < deadline, self.screen
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.terminal)
        return code, self.screen.replace("^C", "")


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    made = Slurm(tmp_path / "tools")
    yield made
    made.lets_go()


@pytest.fixture
def environment(tmp_path: Path, slurm: Slurm) -> dict[str, str]:
    profiles = tmp_path / "config" / "bundle" / "sites"
    profiles.mkdir(parents=True)
    values = {"name": "kite", "description": "d", "scheduler": "slurm"}
    (profiles / "kite.yaml").write_text(json.dumps(values))
    return {
        **os.environ, "PATH": f"{slurm.folder}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path / "config"), "BUNDLE_CACHE": str(tmp_path / "cache"),
        "BUNDLE_CALLED": "python bundle.py",
    }  # fmt: skip


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


#: Of a job's script: it has set its traps.
AT_WORK = f"touch {RunFiles(Path()).ready}; while true; do sleep 0.1; done"


def job_id(files: RunFiles) -> str:
    return str(json.loads(files.job.read_text())["id"])


@pytest.fixture
def living() -> Iterator[List[RunFiles]]:
    """Runs whose local jobs are ended after the test."""
    runs: List[RunFiles] = []
    yield runs
    for files in runs:
        if files.job.exists():
            local.cancel(job_id(files), grace=0)


def cancelled(files: RunFiles) -> str:
    return (
        f"bundle: interrupted: the job was cancelled; its run stays in {files.root}\n"
        f"-> to go on: python bundle.py resume '{files.root}'\n"
    )


BEGUN = "bundle: interrupted: the job is being cancelled\n"
ALL_BEGUN = "bundle: interrupted: the jobs are being cancelled\n"
STILL = "bundle: still ending what was begun; Ctrl-C once more to leave it as it is\n"
HELD = "bundle: it ends when the job that is being submitted is recorded\n"


def test_a_job_that_is_being_submitted_is_recorded_and_cancelled(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("sbatch", 2)
    typed = probe(environment, "one", files.root, 2)
    slurm.wait_for("sbatch", 2)
    typed.press()
    typed.wait_for(HELD)
    typed.press()
    typed.wait_for(HELD, 2)
    slurm.lets_go()
    code, said = typed.end()
    assert (code, said) == (130, HELD + HELD + BEGUN + cancelled(files))
    assert len(slurm.calls("sbatch")) == 3
    assert slurm.calls("scancel") == ["scancel 9 8 7"]
    job = json.loads(files.job.read_text())
    assert (job["id"], job["chain"]) == ("7", ["8", "9"])
    assert files.cancelled.exists()
    assert not files.submitting.exists()


def test_a_second_one_does_not_stop_the_cancelling(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("scancel")
    typed = probe(environment, "one", files.root)
    typed.wait_for("waiting\n")
    typed.press()
    slurm.wait_for("scancel")
    typed.press()
    typed.wait_for(STILL)
    slurm.lets_go()
    code, said = typed.end()
    assert (code, said) == (130, "waiting\n" + BEGUN + STILL + cancelled(files))
    assert slurm.calls("scancel") == ["scancel 7"]
    assert (slurm.folder / "cancelled").exists()


def test_a_third_one_leaves_the_job_and_names_it(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("scancel")
    typed = probe(environment, "one", files.root)
    typed.wait_for("waiting\n")
    typed.press()
    slurm.wait_for("scancel")
    typed.press()
    typed.wait_for(STILL)
    typed.press()
    code, said = typed.end()
    assert (code, said) == (
        130,
        f"waiting\n{BEGUN}{STILL}"
        f"bundle: interrupted: the job may go on; its run stays in {files.root}\n"
        "it was asked to end\n"
        f"-> to end job 7: python bundle.py cancel '{files.root}'\n",
    )


def test_a_job_that_could_not_be_cancelled_is_named(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    typed = probe(environment, "one", files.root, patience=5)
    typed.wait_for("waiting\n")
    for number in range(100):
        slurm.holds("squeue", number)
    typed.press()
    code, said = typed.end()
    assert (code, said) == (
        130,
        f"waiting\n{BEGUN}bundle: interrupted: the job may go on; its run stays in {files.root}\n"
        f"{files.root}: Slurm does not answer: squeue did not end within 5 s: "
        "nothing was cancelled\n"
        f"-> to end job 7: python bundle.py cancel '{files.root}'\n",
    )
    assert not files.cancelled.exists()


def test_an_answer_that_never_came_is_told(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("sbatch")
    typed = probe(environment, "one", files.root, patience=5)
    slurm.wait_for("sbatch")
    typed.press()
    code, said = typed.end()
    assert (code, said) == (
        130,
        f"{HELD}bundle: Slurm did not answer within 5 s: whether it took the job is not known\n"
        "-> when it answers again, this looks into its queue and goes on: "
        f"python bundle.py resume '{files.root}'\n"
        "bundle: interrupted; nothing half-written was left\n",
    )
    assert files.submitting.exists()


def test_before_a_job_is_handed_over_the_new_run_is_gone_again(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    before = "manifests.flows.start.remove_left_behind"
    text = PROBE.replace("bundle.main()", f"import os, manifests.flows.start\n{before} = "
                         "lambda _: os.kill(os.getpid(), 2)\nbundle.main()")  # fmt: skip
    argv = [sys.executable, "-c", text.format(project=str(PROJECT), patience=15), "one"]
    code, said = Typed([*argv, str(files.root)], environment).end()
    assert (code, said) == (130, "bundle: interrupted; nothing half-written was left\n")
    assert not files.root.exists()
    assert slurm.calls("sbatch") == []


def test_an_array_is_recorded_and_cancelled_as_a_whole(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    folder = tmp_path / "slices"
    runs = [prepared(folder / f"run-{number}", "slurm") for number in range(3)]
    slurm.holds("sbatch")
    slurm.holds("scancel", 2)
    typed = probe(environment, "several", folder)
    slurm.wait_for("sbatch")
    typed.press()
    typed.wait_for(HELD)
    slurm.lets_go("sbatch")
    slurm.wait_for("scancel", 2)
    typed.press()
    typed.wait_for(STILL)
    slurm.lets_go()
    code, said = typed.end()
    end = f"bundle: interrupted: the jobs were cancelled; the slices stay in {folder}\n"
    assert (code, said) == (130, HELD + ALL_BEGUN + STILL + end)
    assert [job_id(files) for files in runs] == ["7_1", "7_2", "7_3"]
    assert slurm.calls("scancel") == ["scancel 7_1", "scancel 7_2", "scancel 7_3"]
    assert all(files.cancelled.exists() for files in runs)


def pressed_twice(
    folder: Path, at_term: str, environment: dict[str, str], living: List[RunFiles]
) -> Tuple[Typed, List[RunFiles]]:
    """Two local jobs that do ``at_term`` at SIGTERM; Ctrl-C came, and again while the first of them
    is waited for."""
    script = f"trap '{at_term}' TERM; {AT_WORK}"
    runs = [prepared(folder / f"run-{number}", "local", script) for number in range(2)]
    living += runs
    typed = probe(environment, "several", folder)
    wait_for(*(files.ready for files in runs))
    typed.press()
    wait_for(runs[0].cancelled)
    typed.press()
    return typed, runs


def test_processes_of_this_host_all_end(
    tmp_path: Path, environment: dict[str, str], living: List[RunFiles]
) -> None:
    """Each takes its time to end."""
    folder = tmp_path / "slices"
    typed, runs = pressed_twice(folder, "sleep 1; exit 1", environment, living)
    code, said = typed.end()
    end = f"bundle: interrupted: the jobs were cancelled; the slices stay in {folder}\n"
    assert (code, said) == (130, f"waiting\n{ALL_BEGUN}{STILL}{end}")
    assert not any(local.is_alive(job_id(files)) for files in runs)
    assert all(files.cancelled.exists() for files in runs)


def test_what_a_third_one_leaves_of_several_is_named(
    tmp_path: Path, environment: dict[str, str], living: List[RunFiles]
) -> None:
    folder = tmp_path / "slices"
    typed, runs = pressed_twice(folder, "", environment, living)
    typed.wait_for(STILL)
    typed.press()
    code, said = typed.end()
    ids = [job_id(files) for files in runs]
    assert (code, said) == (
        130,
        f"waiting\n{ALL_BEGUN}{STILL}"
        f"bundle: interrupted: 2 of the jobs may go on; the slices stay in {folder}\n"
        "it was asked to end\n"
        "it was not cancelled\n"
        f"-> to end job {ids[0]}: python bundle.py cancel {runs[0].root}\n"
        f"-> to end job {ids[1]}: python bundle.py cancel {runs[1].root}\n",
    )
    assert local.is_alive(ids[1])


@pytest.mark.parametrize(
    ("repeats", "hint"),
    [
        (None, "to see it: python bundle.py show"),
        ("/an old/run", "for its verdict: python bundle.py compare '/an old/run'"),
    ],
)
def test_after_the_job_the_way_to_its_verdict_is_named(
    tmp_path: Path, environment: dict[str, str], repeats: Optional[str], hint: str
) -> None:
    script = "echo 0 >exit_code; touch DONE"
    files = prepared(tmp_path / "a run", "local", script, rerun_of=repeats)
    typed = probe(environment, "ended", files.root)
    typed.wait_for("judging\n")
    typed.press()
    assert typed.end() == (
        130,
        "judging\n"
        f"bundle: interrupted: the job had ended before; its run stays in {files.root}\n"
        f"-> {hint} '{files.root}'\n",
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_job_outlives_what_waits_for_it(
    tmp_path: Path, environment: dict[str, str], living: List[RunFiles], number: signal.Signals
) -> None:
    files = prepared(tmp_path / "a run", "local")
    living.append(files)
    typed = probe(environment, "one", files.root)
    typed.wait_for("waiting\n")
    os.kill(typed.pid, number)
    code, said = typed.end()
    assert (code, said) == (
        128 + number,
        f"waiting\nbundle: ended by {number.name}: the job goes on; "
        f"its run stays in {files.root}\n"
        f"-> to end job {job_id(files)}: python bundle.py cancel '{files.root}'\n",
    )
    assert local.is_alive(job_id(files))
    assert not files.cancelled.exists()


def test_a_terminal_that_closes_while_a_job_is_submitted(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    slurm.holds("sbatch")
    typed = probe(environment, "one", files.root)
    slurm.wait_for("sbatch")
    os.close(typed.terminal)
    slurm.lets_go()
    os.waitpid(typed.pid, 0)
    assert job_id(files) == "7"
    assert not files.submitting.exists()
    assert slurm.calls("scancel") == []


def test_cancel_itself_is_not_torn(
    tmp_path: Path, slurm: Slurm, environment: dict[str, str]
) -> None:
    files = prepared(tmp_path / "a run", "slurm")
    typed = probe(environment, "one", files.root)
    typed.wait_for("waiting\n")
    os.kill(typed.pid, signal.SIGKILL)
    typed.end()
    slurm.holds("scancel")
    argv = [sys.executable, str(PROJECT / "bundle.py"), "cancel", str(files.root)]
    typed = Typed(argv, environment)
    slurm.wait_for("scancel")
    typed.press()
    typed.wait_for("Ctrl-C once more")
    slurm.lets_go()
    assert typed.end() == (
        130,
        "bundle: the job is being cancelled; Ctrl-C once more to leave it as it is\n"
        f"bundle: interrupted: {files.root}: its job was cancelled\n"
        f"-> see whether it has ended: python bundle.py status '{files.root}'\n",
    )
    assert (slurm.folder / "cancelled").exists()
    assert files.cancelled.exists()
