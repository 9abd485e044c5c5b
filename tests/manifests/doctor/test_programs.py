"""Python packages, git, schedulers: facts in, the whole finding out."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Optional

import pytest

from jobtemplates.schedulers import SCHEDULERS
from manifests.doctor.packages import (
    Packages,
    git_finding,
    packages_finding,
    parse_git,
    parse_pins,
)
from manifests.doctor.scheduler import Commands, scheduler_finding
from manifests.host.finding import (
    fail,
    ok,
    warn,
)

PINS = """\
click==8.1.8 ; python_full_version < '3.10' \\
    --hash=sha256:00 \\
    --hash=sha256:01
    # via -r host.in
click==8.5.1 ; python_full_version >= '3.10' \\
    --hash=sha256:02
jinja2==3.1.6 \\
    --hash=sha256:03
"""


def test_pins_of_the_requirements() -> None:
    old, new = {"python_full_version": "3.9.2"}, {"python_full_version": "3.12.1"}
    assert parse_pins(PINS, old) == {"click": "8.1.8", "jinja2": "3.1.6"}
    assert parse_pins(PINS, new) == {"click": "8.5.1", "jinja2": "3.1.6"}


def test_packages() -> None:
    wanted = {"click": "8.5.1", "jinja2": "3.1.6"}
    good = Packages("3.11.2", wanted, {**wanted}, stamped=True)
    assert packages_finding(good) == ok("Python 3.11.2, 2 packages as pinned")
    assert packages_finding(replace(good, stamped=False)) == warn(
        "Python 3.11.2: .venv was not made from requirements/host.txt as it is now",
        "run: make setup",
    )
    other = replace(good, installed={**wanted, "click": "8.0"})
    assert packages_finding(other) == warn(
        "Python 3.11.2: click 8.0, expected 8.5.1", "run: make setup"
    )
    broken = replace(good, installed={"click": "8.0", "jinja2": None})
    assert packages_finding(broken) == fail(
        "Python 3.11.2: click 8.0, expected 8.5.1; jinja2 missing, expected 3.1.6",
        "run: make setup",
    )


def test_git() -> None:
    assert parse_git("git version 2.39.5 (Apple Git-154)\n") == "2.39.5"
    assert parse_git("hub 1") is None
    assert git_finding("2.39.5", 7) == ok("git 2.39.5, 7 files are tracked")
    takes_all = "the project is not a checkout: a run takes all its files"
    assert git_finding("2.39.5", None) == ok(f"git 2.39.5; {takes_all}")
    assert git_finding(None, None) == ok(f"no git, and {takes_all}")


def there(scheduler: str) -> Dict[str, Optional[str]]:
    return {name: f"/opt/bin/{name}" for name in SCHEDULERS[scheduler].commands}


@pytest.mark.parametrize(
    ("scheduler", "answer", "found"),
    [
        # As Debian's slurm-client and gridengine-client print it; that of PBS was not tried.
        (
            "slurm",
            "slurm-wlm 22.05.8\n",
            "Slurm 22.05.8 (/opt/bin/sbatch): sbatch, squeue, scancel, scontrol",
        ),
        (
            "slurm",
            "slurm 23.11.4\n",
            "Slurm 23.11.4 (/opt/bin/sbatch): sbatch, squeue, scancel, scontrol",
        ),
        (
            "gridengine",
            "SGE 8.1.9\nusage: qstat [options]\n",
            "Grid Engine SGE 8.1.9 (/opt/bin/qsub): qsub, qstat, qdel, qacct",
        ),
        ("pbs", "pbs_version = 20.0.1\n", "PBS 20.0.1 (/opt/bin/qsub): qsub, qstat, qdel"),
    ],
)
def test_schedulers(scheduler: str, answer: str, found: str) -> None:
    assert scheduler_finding("x", scheduler, Commands(there(scheduler), answer)) == ok(found)


def test_a_scheduler_that_is_not_whole() -> None:
    assert scheduler_finding("local", "local", None) == ok("site local has none")
    some = {**there("slurm"), "sbatch": None, "scontrol": None}
    assert scheduler_finding("mine", "slurm", Commands(some)) == fail(
        "site mine: no sbatch, scontrol on PATH",
        "work on a host from which Slurm jobs are submitted, or load its module",
    )
    silent = Commands(there("slurm"), problem="`sbatch --version` did not end within 20 s")
    assert scheduler_finding("mine", "slurm", silent) == fail(
        "Slurm (/opt/bin/sbatch) does not answer: `sbatch --version` did not end within 20 s",
        "make `sbatch --version` work on this host (is it one that submits jobs?)",
    )
    away = Commands(there("slurm"), "slurm 22.05.8\n", silence="Unable to contact slurm controller")
    assert scheduler_finding("mine", "slurm", away) == fail(
        "Slurm does not answer: Unable to contact slurm controller",
        "nothing can be submitted from here; try again later, or ask your administrator",
    )
    assert scheduler_finding("mine", "pbs", Commands(there("pbs"), "hello\nyou\n")) == warn(
        "PBS of unknown version (/opt/bin/qsub): `qstat --version` says 'hello'",
        "see whether these commands are the scheduler's own",
    )
