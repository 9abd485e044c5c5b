"""`make kills` itself: what it would kill, and thirty kills of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.record.run_files import RunFiles
from tests.integration import kill_campaign as campaign
from tests.integration.kill_campaign import Process


def test_choices_follow_from_seed_and_run() -> None:
    assert campaign.planned(1, 7) == campaign.planned(1, 7)
    plans = [campaign.planned(seed, run) for seed in (1, 2) for run in range(50)]
    assert len({str(plan) for plan in plans}) == len(plans)
    kills = [kill for plan in plans for kill in plan]
    assert {kill.number for kill in kills} == set(campaign.SIGNALS)
    assert {kill.order[0] for kill in kills} == set(campaign.VICTIMS)
    assert {len(plan) for plan in plans} == {1, 2, 3}


def test_each_part_of_a_job_is_known() -> None:
    forks = "/usr/bin/python3 -c from multiprocessing.forkserver import main"
    job = [
        Process(1, 0, "python", "python -I -S /p/jobtemplates/supervisor.py 0 75 bash job.sh"),
        Process(2, 1, "bash", "bash /r/job.sh"),
        Process(3, 2, "mpirun", "mpirun -np 2"),
        Process(4, 3, "starter", "Apptainer runtime parent: cpu.sif"),
        Process(5, 4, "squashfuse_ll", "/usr/bin/squashfuse_ll -f"),
        Process(6, 4, "python3", "/usr/bin/python3 -m trainer"),
        Process(7, 6, "python3", "/usr/bin/python3 -m trainer"),
        Process(8, 7, "python3", forks),
        Process(9, 8, "python3", forks),
        Process(10, 1, "orted", "orted -mca x y"),
        Process(11, 7, "python3", "python3 -c from multiprocessing.resource_tracker import main"),
    ]
    assert [campaign.part_of(process, job) for process in job] == [
        "supervisor", "script", "mpirun", "container", "helper", "guard", "rank", "fork server",
        "loader", "daemon", "",
    ]  # fmt: skip


def test_what_is_left_in_a_run_is_found(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    for path in (files.code / ".gitignore", files.model, files.results / ".model.npz.abcd1234"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert campaign.left_in(files) == [files.results / ".model.npz.abcd1234"]


@pytest.mark.image
@pytest.mark.long
def test_thirty_kills_lose_nothing_and_hang_never(tmp_path: Path, image: str) -> None:
    del image
    done = campaign.carry_out(tmp_path, kills=30, seed=1)
    assert done.problems == []
    assert done.kills >= 30
    assert done.resumed > 0
