"""Whatever ends one rank ends the others within seconds: nobody waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from jobtemplates.local import MOUNT_HELPERS
from manifests.record.outcome import Failure
from tests.trainer.conftest import IN_IMAGE
from tests.trainer.test_resume_runs import below, wait_for_step
from tests.waiting import PATIENCE, wait_until
from trainer.guard import parent_of

PROJECT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.mpi

#: Whatever else the machine does, the start included; a rank that nobody ends would stay for ever.
LIMIT = PATIENCE

#: A trainer in which ``what`` happens to rank 1, once: before MPI is up, or after its second step.
DRIVER = """
import os, runpy, signal, sys, threading, time

when, what = sys.argv.pop(1), sys.argv.pop(1)

def happen():
    if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
        exec(what, globals())

def before(function):
    def replaced(*arguments, **settings):
        happen()
        return function(*arguments, **settings)
    return replaced

if when == "import":
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "trainer.main":
                happen()
    sys.meta_path.insert(0, Finder())
elif when == "start":
    import trainer.inputs
    trainer.inputs.check_inputs = before(trainer.inputs.check_inputs)
else:
    import trainer.stopping
    trainer.stopping.Watch.ask = before(trainer.stopping.Watch.ask)
runpy.run_module("trainer", run_name="__main__", alter_sys=True)
"""

IN_THREAD = """
def work():
    {}
threading.Thread(target=work).start()
time.sleep(600)
"""


def ended(
    make_case: Any, launch_ranks: Any, python_for: Any, when: str, what: str
) -> Tuple[Any, Any]:
    """The case, and the run of its ranks, which ended in time."""
    case = make_case(epochs=200)
    command = [*python_for(case.root), "-c", DRIVER, when, what, *case.arguments()]
    mca = case.manifest["identity"]["determinism"]["mca"]
    done = launch_ranks(command, 2, mca, case.environment(), seconds=LIMIT)
    assert not case.files.result.exists()
    return case, done


FAULTS = {
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "sys.exit(0)": "SystemExit: 0",
    "sys.exit('enough')": "SystemExit: enough",
    "raise GeneratorExit": "GeneratorExit",
    IN_THREAD.format("raise ValueError('in a thread')"): "ValueError: in a thread",
    IN_THREAD.format("sys.exit(0)"): "SystemExit: 0",
}


@pytest.mark.slow
@pytest.mark.parametrize("when", [pytest.param("start", marks=pytest.mark.long), "step"])
@pytest.mark.parametrize(("what", "named"), FAULTS.items(), ids=FAULTS.values())
def test_what_is_raised_in_a_rank_ends_all(
    make_case: Any, launch_ranks: Any, python_for: Any, when: str, what: str, named: str
) -> None:
    case, done = ended(make_case, launch_ranks, python_for, when, what)
    assert case.files.failure.exists(), done.stderr
    record = Failure.model_validate_json(case.files.failure.read_bytes())
    assert (record.rank, record.message, record.next_step, record.exit_code) == (
        1,
        f"the trainer has a fault: {named}",
        "report it with the traceback in the run's logs",
        1,
    )
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert f": {record.message}\n-> {record.next_step}\n" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("when", ["import", pytest.param("start", marks=pytest.mark.long), "step"])
@pytest.mark.parametrize(("what", "status"), [
    ("os._exit(0)", None),
    ("os._exit(7)", 7),
    ("os.kill(os.getpid(), signal.SIGINT)", 130),
    ("os.kill(os.getpid(), signal.SIGTERM)", 143),
    ("signal.signal(signal.SIGHUP, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGHUP)", 129),
    ("os.kill(os.getpid(), signal.SIGKILL)", 137),
])  # fmt: skip
def test_a_rank_that_is_gone_ends_all_without_a_word(
    make_case: Any, launch_ranks: Any, python_for: Any, when: str, what: str, status: int
) -> None:
    """From outside, or past the interpreter: that is not a failure of the run."""
    case, done = ended(make_case, launch_ranks, python_for, when, what)
    assert not case.files.failure.exists()
    assert done.returncode == status if status else done.returncode != 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("what", "named"), [
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("sys.exit(0)", "SystemExit: 0"),
    ("raise ImportError('no such part')", "ImportError: no such part"),
])  # fmt: skip
def test_what_is_raised_while_a_rank_imports_ends_all(
    make_case: Any, launch_ranks: Any, python_for: Any, what: str, named: str
) -> None:
    case, done = ended(make_case, launch_ranks, python_for, "import", what)
    record = Failure.model_validate_json(case.files.failure.read_bytes())
    assert (record.rank, record.step, record.message, record.exit_code) == (
        1,
        None,
        f"the trainer has a fault: {named}",
        1,
    )
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1


TOLD = """
import os, signal
from trainer.guard import guarded
def body():
    for pid in (os.getpid(), os.getppid()):
        os.kill(pid, signal.SIGUSR1)
    return 0
guarded(body)
"""


PATIENT = """
import time
from trainer.guard import guarded
def body():
    print("ready", flush=True)
    time.sleep(4)
    return 0
guarded(body)
"""


def test_a_rank_that_is_stopped_and_goes_on_ends_as_it_would_have() -> None:
    """Slurm and Grid Engine suspend a job by SIGSTOP to all of its processes."""
    words = [sys.executable, "-c", PATIENT]
    with subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as guard:
        assert guard.stdout is not None
        assert guard.stdout.readline() == "ready\n"
        guard.send_signal(signal.SIGSTOP)
        time.sleep(2)  # longer than between two looks
        guard.send_signal(signal.SIGCONT)
    assert guard.returncode == 0


def test_the_word_before_a_suspension_ends_no_rank() -> None:
    """Grid Engine's USR1, to all processes of a job, and once more by mpirun."""
    done = subprocess.run([sys.executable, "-c", TOLD], cwd=PROJECT, check=False)
    assert done.returncode == 0


def test_a_start_sweeps_what_killed_writers_left(make_case: Any) -> None:
    case = make_case(epochs=1)
    files = case.files
    case.files.results.mkdir()
    for target in (files.model, files.result, files.stopped, files.ready, files.failure):
        (target.parent / f".{target.name}.ab_d3f9h").write_bytes(b"half")
    done = case.launch()
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in files.root.iterdir())
    assert names == ["inputs", "manifest.json", "ready", "result.json", "results"]
    assert sorted(path.name for path in files.results.iterdir()) == [
        "log.jsonl", "model.npz", "trail",
    ]  # fmt: skip


def command_of(pid: int) -> Tuple[str, str]:
    """Name and command line; both "" where the process is gone."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        return Path(f"/proc/{pid}/comm").read_text().strip(), words
    return "", ""


def parts_below(pid: int) -> Dict[str, List[int]]:
    """Processes of a running job by what they are; ``rank`` are the trainers."""
    parts: Dict[str, List[int]] = {"mpirun": [pid], "container": [], "guard": [], "rank": []}
    for child in below(pid):
        name, words = command_of(child)
        if name.startswith("starter"):
            parts["container"].append(child)
        elif " -m trainer " in words:
            above = parent_of(child)
            parts["rank" if " -m trainer " in command_of(above)[1] else "guard"].append(child)
    return parts


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "number"), [
    ("rank", signal.SIGINT),
    ("rank", signal.SIGKILL),
    ("guard", signal.SIGKILL),
    ("guard", signal.SIGTERM),
    ("container", signal.SIGINT),
    ("container", signal.SIGKILL),
    ("mpirun", signal.SIGKILL),
])  # fmt: skip
def test_a_part_that_is_killed_from_outside_takes_all_with_it(
    make_case: Any, victim: str, number: signal.Signals
) -> None:
    if IN_IMAGE and victim == "container":
        pytest.skip("inside an image there are no containers")
    case = make_case(epochs=2000)
    with case.start() as process:
        wait_for_step(case.files, 2, process)
        parts = parts_below(process.pid)
        assert len(parts["rank"]) == len(parts["guard"]) == 2
        helpers = [pid for pid in below(process.pid) if is_helper(pid)]
        os.kill(parts[victim][-1], number)
        everyone = [pid for pids in parts.values() for pid in pids if pid != process.pid]
        wait_until(lambda: not any(is_alive(pid) for pid in everyone), lambda: parts, LIMIT, 0.1)
        process.communicate(timeout=LIMIT)
    for helper in filter(is_helper, helpers):  # in a job its supervisor sees to that
        os.kill(helper, signal.SIGTERM)
    assert process.returncode != 0
    assert not case.files.failure.exists()
    assert not case.files.result.exists()


def is_helper(pid: int) -> bool:
    """One that mounts an image outlives a container that is killed."""
    return command_of(pid)[0] in MOUNT_HELPERS


def is_alive(pid: int) -> bool:
    """Not gone and no zombie: nobody may be there to reap it."""
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
        return stat.split()[0] not in "ZX"
    return False
