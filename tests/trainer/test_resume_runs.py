"""Whole runs that are killed or stopped at random steps, resumed, and held against one that never
stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from manifests.record.checkpoint_names import checkpoints_in
from manifests.record.outcome import Result, Stop
from manifests.record.run_files import RunFiles
from tests.trainer.conftest import case_maker
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

#: 10 samples, 2 ranks of 2: 25 steps; losses of an epoch's halves cross the checkpoints.
CHANGES: Dict[str, Any] = {"epochs": 10, "optimizer": {"name": "adam", "lr": 0.001}}
STEPS = 25


def outcome(files: RunFiles) -> Dict[str, Any]:
    """What must be the same bits however often a run was stopped."""
    result = Result.model_validate_json(files.result.read_bytes())
    rows = [json.loads(line) for line in files.log.read_text().splitlines()]
    for row in rows:
        del row["elapsed_time"], row["images/s"]
    trails = [files.trail_of(rank).read_bytes() for rank in (0, 1)]
    return {
        "digests": result.digests,
        "trails": trails,
        "model": files.model.read_bytes(),
        "rows": rows,
    }


def set_checkpointing(case: Any, **settings: Any) -> None:
    case.manifest["circumstance"]["checkpointing"] = settings
    case.seal()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    case = case_maker(tmp_path_factory.mktemp("straight"))("straight", **CHANGES)
    done = case.launch()
    assert done.returncode == 0, done.stderr
    assert not case.files.checkpoints.exists()
    return outcome(case.files)


def last_written(trail: Path) -> int:
    return trail.stat().st_mtime_ns if trail.exists() else 0


def wait_for_step(
    files: RunFiles, step: int, process: subprocess.Popen[str], written: int = 0
) -> None:
    """Until rank 1 has written so many steps, and something after the time ``written``: the
    lines that a killed run left behind say nothing of this one."""
    deadline = time.monotonic() + PATIENCE
    trail = files.trail_of(1)
    while process.poll() is None and time.monotonic() < deadline:
        if last_written(trail) > written and trail.read_bytes().count(b"\n") >= step:
            return
        time.sleep(0.002)
    output = process.communicate()
    raise AssertionError(f"step {step} was not reached: {output}")


def below(pid: int) -> List[int]:
    """All descendants of a process."""
    parents: Dict[int, List[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                stat = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()
                parents.setdefault(int(stat[1]), []).append(int(path.name))
    found: List[int] = []
    new = [pid]
    while new:
        new = [child for parent in new for child in parents.get(parent, [])]
        found += new
    return found


def rank_of(pid: int) -> Tuple[str, bool]:
    """(rank, whether it is the trainer itself) of a process below mpirun."""
    with suppress(OSError):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ranks = [v for v in variables if v.startswith(b"OMPI_COMM_WORLD_RANK=")]
        if ranks:
            return ranks[0].decode().partition("=")[2], words[1:3] == [b"-m", b"trainer"]
    return "", False


def kill_one_rank(process: subprocess.Popen[str], dice: random.Random) -> None:
    victim = dice.choice("01")
    trainers = [pid for pid in below(process.pid) if rank_of(pid) == (victim, True)]
    assert trainers, "no trainer to kill"
    for pid in trainers:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_all(process: subprocess.Popen[str], dice: random.Random) -> None:
    for pid in [process.pid, *below(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def warn(process: subprocess.Popen[str], dice: random.Random) -> None:
    process.send_signal(signal.SIGUSR2)


Attack = Callable[[subprocess.Popen[str], random.Random], None]


@pytest.mark.long
@pytest.mark.parametrize(
    "attack",
    [kill_all, warn, kill_one_rank],
)
def test_killed_at_random_steps_and_resumed(
    make_case: Any, straight: Dict[str, Any], attack: Attack
) -> None:
    seed = int.from_bytes(os.urandom(4), "little")
    dice = random.Random(seed)
    loading = {"iterator": dice.choice(["serial", "thread", "process"]), "loaderjob": 2}
    case = make_case("killed", loading=loading, **CHANGES)
    set_checkpointing(case, interval=dice.choice([2, 3]), kept=2)
    # far from the last step, so that a busy machine does not finish the run before the attack
    steps = sorted(dice.sample(range(4, STEPS - 9), 2))
    for step in steps:
        written = last_written(case.files.trail_of(1))
        process = case.start()
        wait_for_step(case.files, step, process, written)
        attack(process, dice)
        output, errors = process.communicate(timeout=PATIENCE)
        told = f"seed {seed}, step {step}: {process.returncode}\n{output}\n{errors}"
        assert "Traceback" not in errors, told
        if attack is warn:
            assert process.returncode == 0, told
            check_stop(case.files, "signal")
        else:
            assert process.returncode != 0, told
        assert not case.files.result.exists(), told
        assert checkpoints_in(case.files.checkpoints), told
    done = case.launch()
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    assert outcome(case.files) == straight, f"seed {seed}"
    result = Result.model_validate_json(case.files.result.read_bytes())
    # the first resumption counts only if the job lived until its next checkpoint
    assert 1 <= len(result.observed.resumed_at) <= len(steps), f"seed {seed}"
    assert f"resumed after step {result.observed.resumed_at[-1]} " in done.stdout, f"seed {seed}"
    left = [path.name for path in case.files.checkpoints.iterdir()]
    assert len(left) == 2, left


def check_stop(files: RunFiles, reason: str) -> Stop:
    stop = Stop.model_validate_json(files.stopped.read_bytes())
    assert (stop.reason, stop.steps) == (reason, STEPS)
    newest = checkpoints_in(files.checkpoints)[0]
    assert newest.name == stop.checkpoint == f"step-{stop.step:09d}.npz"
    assert files.trail_of(0).read_bytes().count(b"\n") == stop.step + 1
    files.stopped.unlink()
    return stop


@pytest.mark.long
def test_stops_before_the_deadline_again_and_again(
    make_case: Any, straight: Dict[str, Any]
) -> None:
    """Each job has less time than a step needs, and does one step nevertheless."""
    case = make_case("chained", **CHANGES)
    set_checkpointing(case)
    for job in range(1, 3):
        done = case.launch(BUNDLE_DEADLINE=str(int(time.time()) + 1))
        assert done.returncode == 0, done.stderr
        assert check_stop(case.files, "walltime").step == job
        assert f"stopped after step {job} of {STEPS}: the walltime is nearly over" in done.stdout
    done = case.launch(BUNDLE_DEADLINE=str(int(time.time()) + 86400))
    assert done.returncode == 0, done.stderr
    assert outcome(case.files) == straight


@pytest.mark.long
def test_a_damaged_newest_checkpoint(make_case: Any, straight: Dict[str, Any]) -> None:
    case = make_case("damaged", **CHANGES)
    set_checkpointing(case, interval=2, kept=2)
    process = case.start()
    wait_for_step(case.files, 9, process)
    kill_all(process, random.Random())
    process.communicate()
    newest, older = checkpoints_in(case.files.checkpoints)
    newest.write_bytes(newest.read_bytes()[:1000])
    done = case.launch()
    assert done.returncode == 0, done.stderr
    assert (
        f"checkpoint {newest.name}: is cut off or no checkpoint; it is kept as "
        f"{newest.name}.damaged, the run goes on from {older.name}\n"
    ) in done.stdout
    assert outcome(case.files) == straight


@pytest.mark.long
def test_statistics_of_each_rank_survive(make_case: Any) -> None:
    """resnet50 normalises by each rank's own batch; its statistics differ between the ranks."""
    changes = {"arch": "resnet50", "insize": 224, "epochs": 1, "batchsize": 1}
    whole = make_case("whole", **changes)
    assert whole.launch().returncode == 0
    case = make_case("stopped", **changes)
    set_checkpointing(case)
    assert case.launch(BUNDLE_DEADLINE="1").returncode == 0
    case.files.stopped.unlink()
    assert case.launch().returncode == 0
    assert case.files.model.read_bytes() == whole.files.model.read_bytes()
    assert [case.files.trail_of(rank).read_bytes() for rank in (0, 1)] == [
        whole.files.trail_of(rank).read_bytes() for rank in (0, 1)
    ]
