"""The entry point to schedulers, with commands on PATH that replay what real ones print."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from container.progress import Silent
from container.trouble import Trouble
from jobtemplates import local
from jobtemplates.submitted import SCHEDULER_LOG
from manifests.cli.overview import list_rows
from manifests.cli.watching import watched
from manifests.flows.cancel import cancel_run, cancel_saving
from manifests.flows.resume import refuse_busy
from manifests.flows.start import start_new, start_run
from manifests.host.context import HostContext, read_host_context
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest, Placement
from manifests.rundir import questions
from manifests.rundir.job import Job
from manifests.rundir.queue import Queues
from tests.records import manifest_values, write_manifest
from tests.waiting import PATIENCE

#: Each writes down how it was called, then prints what its file holds.
FAKE = """#!/bin/bash
printf '%s\\n' "$(basename "$0") $*" >>{folder}/calls
[ -z "$SECRET" ] || echo secret >>{folder}/calls
[ ! -e {folder}/slow ] || sleep 300
cat {folder}/"$(basename "$0")".err >&2 2>/dev/null
cat {folder}/"$(basename "$0")".out 2>/dev/null
[ ! -e {folder}/"$(basename "$0")".err ]
"""


COMMANDS = (
    "sbatch", "squeue", "scancel", "scontrol", "sinfo", "qsub", "qstat", "qdel", "qacct", "qconf",
)  # fmt: skip


class Fakes:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in COMMANDS:
            (folder / name).write_text(FAKE.format(folder=folder))
            (folder / name).chmod(0o755)

    def says(self, name: str, text: str) -> None:
        (self.folder / f"{name}.err").unlink(missing_ok=True)
        (self.folder / f"{name}.out").write_text(text)

    def numbers(self, name: str, server: str) -> None:
        """The first job is 7, the next 8, ..."""
        (self.folder / name).write_text(
            f"""#!/bin/bash
printf '%s\\n' "{name} $*" >>{self.folder}/calls
echo x >>{self.folder}/jobs
echo "$((6 + $(wc -l <{self.folder}/jobs))){server}"
"""
        )

    def fails(self, name: str, text: str) -> None:
        (self.folder / f"{name}.err").write_text(text)

    def calls(self) -> List[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path / "tools")


@pytest.fixture
def host(tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> HostContext:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{fakes.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SECRET", "no scheduler is to see this")
    return replace(read_host_context(tmp_path, Silent()), user="ada", hostname="login1")


def prepared(tmp_path: Path, scheduler: str, **placement: Any) -> RunFiles:
    files = RunFiles(tmp_path / "out" / "digits-20260102T030405Z-abcdef01")
    files.logs.mkdir(parents=True)
    values = manifest_values()
    values["circumstance"]["placement"].update(scheduler=scheduler, site="kite", **placement)
    files.manifest.write_text(Manifest.model_validate(values).model_dump_json())
    return files


def job(files: RunFiles, backend: str, **fields: Any) -> None:
    values: Dict[str, Any] = {
        "backend": backend, "id": "7", "host": "login1", "submitted": "", "user": "ada", **fields,
    }  # fmt: skip
    files.job.write_text(Job(**values).model_dump_json())


@pytest.mark.parametrize(
    ("scheduler", "command", "server", "held"),
    [
        (
            "slurm",
            "sbatch --parsable{held}",
            "",
            " --dependency=afterany:7 --kill-on-invalid-dep=yes",
        ),
        ("gridengine", "qsub -terse -g tga{held}", "", " -hold_jid 7"),
        ("pbs", "qsub{held}", ".pbs1", " -W depend=afterany:7.pbs1"),
    ],
)
def test_a_job_and_its_follow_up(
    tmp_path: Path, host: HostContext, fakes: Fakes, scheduler: str, command: str, server: str,
    held: str,
) -> None:  # fmt: skip
    """Each job gets a number of its own, and the second is held on the first."""
    options = ["-g", "tga"] if "-g" in command else []
    files = prepared(tmp_path, scheduler, submit_options=options)
    for name in ("sbatch", "qsub"):
        fakes.numbers(name, server)
    found = start_run(files, host, 1)
    home = {
        "slurm": "scontrol show config", "gridengine": "qconf -sss", "pbs": "qstat -B -f",
    }  # fmt: skip
    assert fakes.calls() == [
        f"{command.format(held='')} {files.job_script}",
        f"{command.format(held=held)} {files.job_script}",
        home[scheduler],
    ]
    assert (found.id, found.chain, found.follow_ups) == (f"7{server}", [f"8{server}"], 1)
    assert json.loads(files.job.read_text())["backend"] == scheduler


def test_another_group_is_said_on_the_command_line(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    fakes.says("sbatch", "7\n")
    placed = Placement(
        site="kite", jobname="digits", scheduler="slurm", submit_options=["--account=new"]
    )
    start_run(files, host, 0, placed)
    assert fakes.calls()[0] == f"sbatch --parsable --account=new {files.job_script}"


def test_a_refusal_shows_the_schedulers_words_and_leaves_nothing(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "pbs")
    fakes.fails("qsub", "\nqsub: Unknown queue MSG=cannot locate queue\n")
    with pytest.raises(Trouble) as caught:
        start_new(files, host)
    assert str(caught.value) == (
        "PBS refuses the job: qsub: Unknown queue MSG=cannot locate queue\n"
        "-> change what it names in the config (or the site profile), then submit again"
    )
    assert list(files.root.parent.iterdir()) == []


def test_a_follow_up_that_is_refused_takes_the_first_job_back(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    (fakes.folder / "sbatch").write_text(
        f'#!/bin/bash\necho "sbatch $*" >>{fakes.folder}/calls\n'
        '[[ $* != *dependency* ]] || { echo "no more jobs" >&2; exit 1; }\necho 7\n'
    )
    with pytest.raises(Trouble) as caught:
        start_new(files, host, 2)
    assert caught.value.problems == ["Slurm refuses the job: no more jobs"]
    assert [call.split()[0] for call in fakes.calls()] == ["sbatch", "sbatch", "scancel"]
    assert not files.root.exists()


def test_a_follow_up_is_refused_and_the_first_job_cannot_be_taken_back(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    """The run stays: that job works in it."""
    files = prepared(tmp_path, "slurm")
    (fakes.folder / "sbatch").write_text(
        '#!/bin/bash\n[[ $* != *dependency* ]] || { echo "no more jobs" >&2; exit 1; }\necho 7\n'
    )
    fakes.fails("scancel", "Socket timed out\n")
    with pytest.raises(Trouble) as caught:
        start_new(files, host, 2)
    assert str(caught.value) == (
        "Slurm refuses the job: no more jobs\n"
        "job 7 was taken before that, and not cancelled\n"
        f"-> end it: scancel 7; then: python bundle.py resume {files.root}"
    )
    assert files.submitting.exists()


@pytest.mark.parametrize("scheduler", ["slurm", "gridengine", "pbs"])
def test_what_the_scheduler_says_of_a_job_that_it_takes(
    tmp_path: Path, host: HostContext, fakes: Fakes, scheduler: str
) -> None:
    """A filter of the site warns, or nodes are taken from the job: said once for a chain."""
    files = prepared(tmp_path, scheduler)
    command = "sbatch" if scheduler == "slurm" else "qsub"
    fakes.numbers(command, ".pbs1" if scheduler == "pbs" else "")
    with (fakes.folder / command).open("a") as script:
        script.write(f"echo '{command}: your project ends tomorrow' >&2\n\necho >&2\n")
        script.write("echo 'warning: no queue takes it now' >&2\n")
    said: List[str] = []
    start_run(files, host, 1, warn=said.append)
    assert said == [
        f"{command} says: your project ends tomorrow",
        f"{command} says: warning: no queue takes it now",
    ]


def test_a_refused_resume_leaves_the_run_as_it_was(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm")
    files.exit_code.write_text("75\n")
    files.stopped.write_text("{}")
    before = {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()}
    fakes.fails("sbatch", "down for maintenance\n")
    with pytest.raises(Trouble):
        start_run(files, host)
    assert {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()} == before


def test_a_host_without_the_scheduler(tmp_path: Path, host: HostContext) -> None:
    files = prepared(tmp_path, "slurm")
    alone = {**host.environ, "PATH": "/nonexistent"}
    with pytest.raises(Trouble) as caught:
        start_new(files, HostContext(**{**vars(host), "environ": alone}))
    assert str(caught.value) == (
        "sbatch could not be started: No such file or directory: this host cannot submit to Slurm\n"
        "-> submit on a login node of the cluster, or with site: local"
    )
    assert not files.root.exists()


def test_a_scheduler_that_hangs(
    tmp_path: Path, host: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 0.3)
    files = prepared(tmp_path, "slurm")
    (fakes.folder / "slow").touch()
    with pytest.raises(Trouble) as caught:
        start_new(files, host)
    assert str(caught.value) == (
        "Slurm did not answer within 0.3 s: whether it took the job is not known\n"
        "-> when it answers again, this looks into its queue and goes on: "
        f"python bundle.py resume {files.root}"
    )
    assert files.root.exists() and not files.job.exists()
    assert list_rows([files.root.parent], host)[0]["state"] == "unknown"
    job(files, "slurm")
    warnings: List[str] = []
    begun = time.monotonic()
    rows = list_rows([files.root.parent], host, warnings.append)
    assert time.monotonic() - begun < PATIENCE
    assert rows[0]["state"] == "unknown"
    assert warnings == [
        "Slurm does not answer: squeue did not end within 0.3 s; the state of its jobs is not known"
    ]


def test_each_scheduler_is_asked_once_for_all_runs(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    out = tmp_path / "out"
    states = {"7": "RUNNING", "8": "PENDING", "9": "TIMEOUT"}
    for number in range(1000):
        files = RunFiles(out / f"a{number}-20260102T030405Z-abcdef01")
        files.root.mkdir(parents=True)
        write_manifest(files)
        job(files, "slurm", id=str(7 + number % 3))
    fakes.says("squeue", "".join(f"{name}|{text}|Licenses\n" for name, text in states.items()))
    begun = time.monotonic()
    rows = list_rows([out], host)
    spent = time.monotonic() - begun
    assert fakes.calls() == [
        "squeue --all --array --noheader --states=all --user=ada --format=%i|%T|%r"
    ]
    assert {(row["job"], row["state"], row["why"]) for row in rows} == {
        ("7", "running", None), ("8", "queued", "Licenses"), ("9", "failed", "Slurm: TIMEOUT"),
    }  # fmt: skip
    print(f"1000 rows in {spent:.2f} s")


def test_a_job_that_vanished_is_no_success(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm")
    fakes.says("squeue", "")
    fakes.fails("scontrol", "slurm_load_jobs error: Invalid job id specified\n")
    (row,) = list_rows([files.root.parent], host)
    assert (row["state"], row["why"]) == ("unknown", "Slurm knows no such job any more")
    refuse_busy(files, host)  # it may be gone on with
    fakes.fails("squeue", "slurm_load_jobs error: Unable to contact slurm controller\n")
    with pytest.raises(Trouble) as caught:
        refuse_busy(files, host)
    assert str(caught.value) == (
        f"{files.root}: Slurm does not answer: slurm_load_jobs error: Unable to contact slurm "
        "controller: whether its job still runs is not known\n"
        "-> resume it where the scheduler answers and shows the job; if you know that none of its "
        f"jobs is left: rm {files.job}"
    )


def test_what_the_scheduler_says_of_a_jobs_end_is_shown(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm", chain=["8"], follow_ups=1)
    outside = (
        "the job was ended from outside: its launcher was ended, or lost ranks or a node (status 1)"
    )

    def shown() -> Tuple[str, str]:
        (row,) = list_rows([files.root.parent], host)
        return row["state"], row["why"]

    fakes.says("squeue", "7|TIMEOUT|TimeLimit\n8|NODE_FAIL|NodeDown\n")
    assert shown() == ("failed", "Slurm: NODE_FAIL")
    files.interrupted.write_text("1\n")
    assert shown() == ("failed", f"{outside}; Slurm: NODE_FAIL")
    # Slurm forgets its jobs after a while (MinJobAge): what lies in the run directory is left.
    fakes.says("squeue", "")
    fakes.fails("scontrol", "slurm_load_jobs error: Invalid job id specified\n")
    assert shown() == ("failed", f"{outside}; Slurm knows no such job any more")
    (files.root / SCHEDULER_LOG).write_text(
        "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-27T21:15:20 DUE TO TIME LIMIT "
        "***\nslurmstepd-n2: error: *** STEP 8.0 ON n2 CANCELLED AT 2026-11-27T21:30:00 ***\n"
        "slurmstepd-n1: error: *** JOB 8 ON n1 CANCELLED AT 2026-11-27T21:30:00 DUE TO PREEMPTION "
        "***\n"
    )
    ended = "Slurm: CANCELLED AT 2026-11-27T21:30:00 DUE TO PREEMPTION"
    assert shown() == ("failed", f"{outside}; {ended}")
    files.interrupted.unlink()
    assert shown() == ("failed", ended)
    job(files, "slurm", id="9", earlier=["7", "8"])
    assert shown() == ("unknown", "Slurm knows no such job any more")
    refuse_busy(files, host)


def test_what_qacct_says_of_a_jobs_end_is_shown(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "gridengine")
    job(files, "gridengine")
    fakes.says("qstat", "<job_info/>")
    fakes.says(
        "qacct",
        "failed       37  : qmaster enforced h_rt, h_cpu, or h_vmem limit\nexit_status  137\n",
    )
    (row,) = list_rows([files.root.parent], host)
    assert (row["state"], row["why"]) == (
        "failed", "Grid Engine: qmaster enforced h_rt, h_cpu, or h_vmem limit",
    )  # fmt: skip


def test_a_follow_up_that_waits_is_the_runs_state(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm", chain=["8"], follow_ups=1)
    files.exit_code.write_text("75\n")
    files.stopped.write_text("{}")
    fakes.says("squeue", "7|FAILED|NonZeroExitCode\n8|PENDING|Dependency\n")
    (row,) = list_rows([files.root.parent], host)
    assert (row["state"], row["job"]) == ("queued", "8")
    fakes.says("squeue", "7|FAILED|NonZeroExitCode\n8|FAILED|NonZeroExitCode\n")
    assert list_rows([files.root.parent], host)[0]["state"] == "stopped"


@pytest.mark.parametrize(("code", "state"), [("75\n", "unknown"), ("1\n", "failed")])
def test_a_follow_up_may_wait_where_the_scheduler_is_silent(
    tmp_path: Path, host: HostContext, fakes: Fakes, code: str, state: str
) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm", chain=["8"], follow_ups=1)
    files.exit_code.write_text(code)
    files.stopped.write_text("{}")
    before = {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()}
    fakes.fails("squeue", "down\n")
    assert list_rows([files.root.parent], host)[0]["state"] == state
    with pytest.raises(Trouble) as caught:
        refuse_busy(files, host)
    assert str(caught.value) == (
        f"{files.root}: Slurm does not answer: down: whether its job still runs is not known\n"
        "-> resume it where the scheduler answers and shows the job; if you know that none of its "
        f"jobs is left: rm {files.job}"
    )
    assert {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()} == before
    fakes.says("squeue", "")  # neither is known any more
    refuse_busy(files, host)


def test_what_lives_of_an_earlier_job_counts(
    tmp_path: Path, host: HostContext, fakes: Fakes
) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm", id="9", earlier=["7", "8"])
    files.exit_code.write_text("1\n")
    fakes.says("squeue", "8|PENDING|JobHeldUser\n9|FAILED|NonZeroExitCode\n")
    with pytest.raises(Trouble) as caught:
        refuse_busy(files, host)
    assert str(caught.value) == (
        f"{files.root}: its job still waits in its queue\n"
        f"-> to end it first: python bundle.py cancel {files.root}"
    )
    assert cancel_run(files, host) is True
    assert fakes.calls()[-1] == "scancel 8"


def test_pbs_without_a_history_of_jobs(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = prepared(tmp_path, "pbs")
    job(files, "pbs", id="7.pbs1")
    (fakes.folder / "qstat").write_text(
        "#!/bin/bash\n"
        '[[ $* != *-x* ]] || { echo "qstat: PBS is not configured to maintain job history" >&2; '
        "exit 1; }\n"
        "echo '7.pbs1  ada rt_HF digits 12345 2 16 -- 01:00 R 00:10'\n"
    )
    assert Queues(host)(files).state == "running"


def test_cancel_is_told_to_the_last_first(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm", chain=["8", "9"], follow_ups=2)
    fakes.says("squeue", "7|TIMEOUT|None\n8|RUNNING|None\n9|PENDING|Dependency\n")
    assert cancel_run(files, host) is True
    assert fakes.calls()[-1] == "scancel 9 8"
    fakes.says("squeue", "7|TIMEOUT|None\n8|CANCELLED|None\n9|CANCELLED|None\n")
    assert cancel_run(files, host) is False
    assert "scancel" not in "".join(fakes.calls())
    fakes.says("squeue", "8|RUNNING|None\n")
    fakes.fails("scancel", "scancel: error: Access/permission denied\n")
    with pytest.raises(Trouble) as caught:
        cancel_run(files, host)
    assert str(caught.value) == (
        f"{files.root}: Slurm did not cancel: scancel: error: Access/permission denied\n"
        "-> see: status"
    )


@pytest.mark.parametrize("saving", [False, True])
def test_a_local_job_of_another_account(
    tmp_path: Path, host: HostContext, monkeypatch: pytest.MonkeyPatch, saving: bool
) -> None:
    files = prepared(tmp_path, "local")
    process = local.read_process(os.getpid())
    assert process is not None
    monkeypatch.setattr(local, "session_of", lambda _: [replace(process, pid=7)])
    job(files, "local", id="7.1", user="bob")

    def kill(pid: int, number: int) -> None:
        assert pid == 7
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("jobtemplates.local.os.kill", kill)
    with pytest.raises(Trouble) as caught:
        cancel_saving(files, host, print) if saving else cancel_run(files, host)
    assert str(caught.value) == (
        f"{files.root}: its job is one of account bob: it was not cancelled\n-> cancel it as bob"
    )
    assert not files.cancelled.exists()
    helper = replace(process, pid=7, command=local.MOUNT_HELPERS[0])
    monkeypatch.setattr(local, "session_of", lambda _: [helper])
    local.end_helpers("7.1")  # nor is what it left a reason to end


def test_watching_ends_with_the_last_run(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = prepared(tmp_path, "slurm")
    job(files, "slurm")
    fakes.says("squeue", "7|PENDING|Resources\n")
    answers = ["7|RUNNING|None\n", None, "7|COMPLETED|None\n"]

    def next_answer(_seconds: float) -> None:
        answer = answers.pop(0)
        if answer is None:
            fakes.fails("squeue", "away\n")
        else:
            fakes.says("squeue", answer)

    rows = [rows[0]["state"] for rows in watched([files.root], host, sleep=next_answer)]
    assert rows == ["queued", "running", "unknown", "failed"]


def test_the_environment_of_its_commands(tmp_path: Path, host: HostContext, fakes: Fakes) -> None:
    files = prepared(tmp_path, "slurm")
    fakes.says("sbatch", "7\n")
    start_run(files, host)
    assert fakes.calls() == [f"sbatch --parsable {files.job_script}", "scontrol show config"]
