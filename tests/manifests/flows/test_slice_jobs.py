"""The jobs of slices: one array, each task a job of its own run directory; all of them or none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, List

import pytest

from container.trouble import Trouble
from manifests.flows.cancel import cancel_run
from manifests.flows.resume import refuse_busy
from manifests.flows.slice_jobs import start_slices
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from manifests.record.slice_set import SetFiles
from manifests.rundir.directory import state_of
from manifests.rundir.job import read_job
from manifests.rundir.queue import Queues
from manifests.rundir.submission import Refused
from tests.manifests.rundir.test_queue import Fakes, fakes, host
from tests.records import manifest_values

__all__ = ["fakes", "host"]

GO_ON = ["rerun", "/runs/a b", "--gather", "/runs/slices"]

PREFIXES = {"slurm": "#SBATCH", "gridengine": "#$", "pbs": "#PBS"}


@pytest.fixture
def at(host: HostContext, tmp_path: Path) -> HostContext:
    """A host with site profiles ``kite`` of each scheduler; that of ``pbs`` has no arrays."""
    profiles = tmp_path / "config" / "bundle" / "sites"
    profiles.mkdir(parents=True)
    for scheduler in PREFIXES:
        for name, arrays in ((scheduler, True), (f"{scheduler}-single", False)):
            values = {
                "name": f"kite-{name}", "description": "d", "scheduler": scheduler,
                "arrays": arrays,
            }  # fmt: skip
            (profiles / f"kite-{name}.yaml").write_text(json.dumps(values))
    return replace(host, environ={**host.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")})


def written(
    tmp_path: Path, scheduler: str, site: str = "", count: int = 3, **placement: Any
) -> List[RunFiles]:
    """Slices that were never started."""
    slices = []
    for number in range(count):
        files = RunFiles(tmp_path / "slices" / f"digits-2026010{number + 1}T030405Z-abcdef01")
        files.logs.mkdir(parents=True)
        values = manifest_values()
        site = site or f"kite-{scheduler}"
        values["circumstance"]["placement"].update(scheduler=scheduler, site=site, **placement)
        files.manifest.write_text(Manifest.model_validate(values).model_dump_json())
        line = f"{PREFIXES[scheduler]} --output=logs/scheduler.log"
        files.job_script.write_text(f"#!/bin/bash\n{line}\nrun={files.root}\n")
        slices.append(files)
    return slices


def everything(folder: Path) -> List[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def states(slices: List[RunFiles], at: HostContext) -> List[str]:
    queues = Queues(at)
    return [state_of(one, queues)[0] for one in slices]


@pytest.mark.parametrize(
    ("scheduler", "command", "answer", "ids"),
    [
        ("slurm", "sbatch --parsable", "7\n", ["7_1", "7_2", "7_3"]),
        ("gridengine", "qsub -terse", "7.1-3:1\n", ["7.1", "7.2", "7.3"]),
        ("pbs", "qsub", "7[].pbs1\n", ["7[1].pbs1", "7[2].pbs1", "7[3].pbs1"]),
    ],
)
def test_one_submission_and_a_job_for_each(
    tmp_path: Path, at: HostContext, fakes: Fakes, scheduler: str, command: str, answer: str,
    ids: List[str],
) -> None:  # fmt: skip
    slices = written(tmp_path, scheduler)
    fakes.says(command.split()[0], answer)
    folder = SetFiles(tmp_path / "slices")
    jobs = start_slices(slices, folder, at, GO_ON)
    array = folder.root / "array-1"
    assert fakes.calls()[0] == f"{command} {array / 'array.sh'}"
    assert [job.id for job in jobs] == ids
    for task, (one, job) in enumerate(zip(slices, jobs), 1):
        assert read_job(one) == job
        assert job.environment == {}
        assert job.program.endswith(command.split()[0])
        assert (array / str(task)).resolve() == one.root.resolve()
        assert not one.submitting.exists()
    assert folder.new_array().root.name == "array-2"


def test_a_task_is_seen_and_ended_by_itself(tmp_path: Path, at: HostContext, fakes: Fakes) -> None:
    slices = written(tmp_path, "slurm")
    fakes.says("sbatch", "7\n")
    start_slices(slices, SetFiles(tmp_path / "slices"), at, GO_ON)
    fakes.says("squeue", "7_1|RUNNING|None\n7_2|PENDING|Resources\n7_3|COMPLETED|None\n")
    assert states(slices, at) == ["running", "queued", "failed"]  # the last left no result
    fakes.calls()
    assert cancel_run(slices[1], at)
    assert [call for call in fakes.calls() if call.startswith("scancel")] == ["scancel 7_2"]


@pytest.mark.parametrize("site", ["kite-slurm", "kite-slurm-single"])
def test_what_the_scheduler_says_of_all_is_said_once(
    tmp_path: Path, at: HostContext, fakes: Fakes, site: str
) -> None:
    slices = written(tmp_path, "slurm", site)
    (fakes.folder / "sbatch").write_text("#!/bin/sh\necho 7\necho 'sbatch: few hours left' >&2\n")
    said: List[str] = []
    start_slices(slices, SetFiles(tmp_path / "slices"), at, GO_ON, said.append)
    assert said == ["sbatch says: few hours left"]


def test_an_array_that_is_refused_leaves_nothing(
    tmp_path: Path, at: HostContext, fakes: Fakes
) -> None:
    slices = written(tmp_path, "slurm")
    before = everything(tmp_path / "slices")
    fakes.fails("sbatch", "sbatch: error: Invalid job array specification\n")
    with pytest.raises(Refused) as caught:
        start_slices(slices, SetFiles(tmp_path / "slices"), at, GO_ON)
    assert caught.value.problems == [
        "Slurm refuses the job: sbatch: error: Invalid job array specification"
    ]
    assert caught.value.next_step == (
        "change what it names in the config (or the site profile), or, where it takes no such job "
        "array: arrays: false in the site profile (docs/sites.md), then try again"
    )
    assert everything(tmp_path / "slices") == before


def test_an_array_that_cannot_be_recorded_is_ended(
    tmp_path: Path, at: HostContext, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from container import atomic

    slices = written(tmp_path, "gridengine")
    before = everything(tmp_path / "slices")
    fakes.says("qsub", "7.1-3:1\n")
    write = atomic.write_json

    def full(path: Path, value: Any) -> None:
        if path == slices[1].job:
            raise OSError(28, "No space left on device", str(path))
        write(path, value)

    monkeypatch.setattr(atomic, "write_json", full)
    with pytest.raises(Refused) as caught:
        start_slices(slices, SetFiles(tmp_path / "slices"), at, GO_ON)
    assert caught.value.problems == [
        f"{slices[1].job}: cannot be written: No space left on device; "
        "the jobs 7.1, 7.2, 7.3 were cancelled"
    ]
    assert "qdel 7.3,7.2,7.1" in fakes.calls()
    assert everything(tmp_path / "slices") == before


def test_an_array_of_which_no_answer_came_is_looked_for_by_its_tasks(
    tmp_path: Path, at: HostContext, fakes: Fakes
) -> None:
    slices = written(tmp_path, "slurm")
    fakes.says("sbatch", "Good morning\n")
    with pytest.raises(Trouble) as caught:
        start_slices(slices, SetFiles(tmp_path / "slices"), at, GO_ON)
    assert not isinstance(caught.value, Refused)
    assert caught.value.next_step == (
        "look for job digits in the queue, whether it was taken is not known; where it is not "
        "there: python bundle.py rerun '/runs/a b' --gather /runs/slices"
    )
    array = tmp_path / "slices" / "array-1"
    fakes.says("squeue", f"7_1|{array}\n7_2|{array}\n8|/elsewhere\n9_2|/elsewhere\n")
    with pytest.raises(Trouble) as caught:
        refuse_busy(slices[1], at)
    assert str(caught.value) == (
        f"{slices[1].root}: Slurm has job 7_2 of the name digits, and never said whether it is "
        "this run's\n-> where it is, wait for its end or end it first: scancel 7_2; "
        f"where it is another run's: rm {slices[1].submitting}"
    )
    refuse_busy(slices[2], at)  # its task is not there: it may be started


def test_a_profile_without_arrays_gives_each_slice_a_job(
    tmp_path: Path, at: HostContext, fakes: Fakes
) -> None:
    slices = written(tmp_path, "pbs", "kite-pbs-single")
    fakes.numbers("qsub", ".pbs1")
    jobs = start_slices(slices, SetFiles(tmp_path / "slices"), at, GO_ON)
    assert [job.id for job in jobs] == ["7.pbs1", "8.pbs1", "9.pbs1"]
    assert not (tmp_path / "slices" / "array-1").exists()


def test_one_slice_is_no_array(tmp_path: Path, at: HostContext, fakes: Fakes) -> None:
    (one,) = written(tmp_path, "slurm", count=1)
    fakes.says("sbatch", "7\n")
    (job,) = start_slices([one], SetFiles(tmp_path / "slices"), at, GO_ON)
    assert job.id == "7"


def test_a_job_that_is_refused_takes_those_before_it_back(
    tmp_path: Path, at: HostContext, fakes: Fakes
) -> None:
    slices = written(tmp_path, "slurm", "kite-slurm-single")
    (fakes.folder / "sbatch").write_text(
        f"#!/bin/bash\necho x >>{fakes.folder}/jobs\n"
        f"number=$((6 + $(wc -l <{fakes.folder}/jobs)))\n"
        '[ "$number" -lt 9 ] || { echo "no more jobs" >&2; exit 1; }\necho "$number"\n'
    )
    fakes.says("squeue", "7|RUNNING|None\n8|PENDING|Resources\n")
    with pytest.raises(Refused) as caught:
        start_slices(slices, SetFiles(tmp_path / "slices"), at, GO_ON)
    assert caught.value.problems == ["Slurm refuses the job: no more jobs"]
    ended = [call for call in fakes.calls() if call.startswith("scancel")]
    assert ended == ["scancel 7", "scancel 8"]
    fakes.says("squeue", "7|CANCELLED|None\n8|CANCELLED|None\n")
    assert states(slices, at) == ["cancelled", "cancelled", "prepared"]
