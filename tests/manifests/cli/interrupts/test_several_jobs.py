"""The same of several jobs that one command started"""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

from jobtemplates import local
from manifests.record.run_files import RunFiles
from tests.manifests.cli.interrupts.fake_slurm import Slurm
from tests.manifests.cli.interrupts.probe import (
    ALL_BEGUN,
    AT_WORK,
    HELD,
    STILL,
    job_id,
    prepared,
    probe,
    wait_for,
)
from tests.typed import Typed


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
