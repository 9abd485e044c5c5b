"""Why a job failed, from what its ranks, its script and its launcher left."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtemplates.backend import QueueEntry
from manifests.flows.explain import explain_failure
from manifests.record.run_files import RunFiles
from manifests.rundir.directory import state_of

RULE = "-" * 74 + "\n"

#: As Open MPI 4.1.4 and 5.0.11 print them.
NO_PROGRAM = (
    f"{RULE}mpirun was unable to launch the specified application as it could not access\n"
    "or execute an executable:\n\nExecutable: /opt/apptainer\nNode: n1\n\n"
    f"while attempting to start process rank 0.\n{RULE}"
)
NOT_ENOUGH = f"{RULE}There are not enough slots available in the system to satisfy the 2\n{RULE}"
UNKNOWN = f"{RULE}An unrecognized option was included on the mpirun command line:\n{RULE}"
ENDED = (
    f"{RULE}Primary job  terminated normally, but 1 process returned\n"
    f"a non-zero exit code. Per user-direction, the job has been aborted.\n{RULE}"
)
BY_SIGNAL = (
    f"{RULE}mpirun noticed that process rank 1 with PID 0 on node n1 exited on signal 11 "
    f"(Segmentation fault).\n{RULE}"
)
BY_SIGNAL_5 = (
    f"{RULE}prterun noticed that process rank 1 with PID 18733 on node n1 exited on\n"
    f"signal 9 (Killed).\n{RULE}"
)
BY_STATUS = (
    f"{RULE}mpirun detected that one or more processes exited with non-zero status, thus causing\n"
    "the job to be terminated. The first process to do so was:\n\n"
    f"  Process name: [[9370,1],1]\n  Exit code:    137\n{RULE}"
)


def job(tmp_path: Path, code: int, said: str) -> RunFiles:
    files = RunFiles(tmp_path)
    files.logs.mkdir()
    (files.logs / "stderr.log").write_text(said)
    files.exit_code.write_text(f"{code}\n")
    return files


@pytest.mark.parametrize(
    ("code", "said", "first"),
    [
        (132, NO_PROGRAM, "the job failed; the end of its standard error:"),
        (213, UNKNOWN, "the job failed; the end of its standard error:"),
        (137, NOT_ENOUGH, "the job failed; the end of its standard error:"),
        (1, ENDED, "the job failed; the end of its standard error:"),
        (139, ENDED + BY_SIGNAL, "the job failed: a rank was ended by SIGSEGV"),
        (
            137,
            BY_SIGNAL_5,
            "the job failed: a rank was ended by SIGKILL (often: no memory was left)",
        ),
        (
            137,
            ENDED + BY_STATUS,
            "the job failed: a rank was ended by SIGKILL (often: no memory was left)",
        ),
        # With mpirun --quiet nothing is said.
        (139, "", "the job failed: a rank was ended by SIGSEGV"),
        (132, "", "the job failed: a rank was ended by SIGILL"),
    ],
)
def test_codes_of_a_launcher_are_no_signals(
    tmp_path: Path, code: int, said: str, first: str
) -> None:
    files = job(tmp_path, code, said)
    explained = explain_failure(files, files.logs / "stderr.log")
    shown = said.splitlines()[-20:]
    assert explained.splitlines() == [first, *shown, f"-> see {files.logs}"]


def test_what_the_script_refused_stands_alone(tmp_path: Path) -> None:
    files = job(
        tmp_path, 2,
        ENDED + "bundle: warning: n1: something\nbundle: n1: mpirun is old\n-> load another\n",
    )  # fmt: skip
    assert explain_failure(files, files.logs / "stderr.log") == (
        "n1: mpirun is old\n-> load another"
    )


def test_what_an_earlier_job_refused_is_not_why_this_one_failed(tmp_path: Path) -> None:
    said = "bundle: n1: mpirun is old\n-> load another\n" + ENDED + BY_SIGNAL
    files = job(tmp_path, 139, said)
    explained = explain_failure(files, files.logs / "stderr.log")
    assert explained.startswith("the job failed: a rank was ended by SIGSEGV\n")


@pytest.mark.parametrize("code", [1, 2])
def test_a_script_that_knows_nothing_leaves_the_word_to_others(tmp_path: Path, code: int) -> None:
    said = (
        f"no slots\nbundle: the ranks ended with status {code}, and none of them could say why\n"
        "-> look at their nodes\n"
    )
    files = job(tmp_path, code, said)
    assert explain_failure(files, files.logs / "stderr.log") == (
        f"the job failed; the end of its standard error:\n{said}-> see {files.logs}"
    )


def test_a_job_ended_from_outside_is_explained_by_that_and_not_by_its_last_words(
    tmp_path: Path,
) -> None:
    """`show` says what `status` says."""
    files = job(tmp_path, 0, "mpirun: Forwarding signal 18 to job\n")
    files.exit_code.unlink()
    files.interrupted.write_text("137\n")
    entry = QueueEntry("ended", "Slurm: NODE_FAIL")
    (files.root / "job.json").write_text("{}")
    state, why, _ = state_of(files, lambda _: entry)
    assert (state, explain_failure(files, ended=why)) == (
        "failed",
        "the job was ended from outside: a rank was ended by SIGKILL (often: no memory was left); "
        f"Slurm: NODE_FAIL\n-> see {files.logs}; to go on: python bundle.py resume {files.root}",
    )
