"""A driver too old for a stack is refused by name and number, before anything is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import List, Optional

import pytest

from container.cache import Cache
from container.progress import Silent
from container.stack import find_stack
from container.trouble import Trouble
from manifests.config.determinism import _PROMISES, KNOBS, promises_for
from manifests.flows import resume
from manifests.flows.preflight import driver_warnings
from manifests.flows.rerun import RerunRequest, plan_rerun
from manifests.flows.resume import plan_resume
from manifests.flows.submit import plan_submit
from manifests.host import asking
from manifests.host.context import HostContext, read_host_context
from manifests.host.gpus import Driver
from manifests.record.run_files import RunFiles
from manifests.record.schema import GpuPromise, Promises

PROJECT = Path(__file__).resolve().parents[3]
NEEDED = Promises(gpu=GpuPromise(driver="525.60.13", capabilities=["6.0"]))


def surroundings(driver: Driver) -> HostContext:
    """This machine with a fake of its driver."""
    return replace(read_host_context(PROJECT, Silent()), nvidia_driver=lambda: driver)


def told(
    version: Optional[str],
    promises: Promises = NEEDED,
    scheduler: str = "local",
    unread: Optional[str] = None,
) -> List[str]:
    """What the person is told."""
    host = surroundings(Driver(version, unread))
    try:
        return driver_warnings("cuda12", promises, scheduler, host, instead=lambda: "or do INSTEAD")
    except Trouble as trouble:
        return ["refused", *str(trouble).splitlines()]


def test_this_machine_is_asked_only_when_its_driver_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(asking, "look_at_driver", lambda: asked.append(1) or Driver("1.0"))
    host = read_host_context(PROJECT, Silent())
    for promises, scheduler in ((Promises(), "local"), (NEEDED, "slurm")):
        assert driver_warnings("cuda12", promises, scheduler, host, instead=str) == []
    assert asked == []
    with pytest.raises(Trouble, match=r"the NVIDIA driver is 1\.0, "):
        driver_warnings("cuda12", NEEDED, "local", host, instead=str)
    assert asked == [1]


def test_too_old() -> None:
    assert told("470.82.01") == [
        "refused",
        "the NVIDIA driver is 470.82.01, and stack cuda12 needs 525.60.13 or newer",
        "-> ask your administrator for a newer driver, or do INSTEAD",
    ]
    assert told("525.60.12")[0] == "refused"


def test_none_at_all() -> None:
    assert told(None) == [
        "refused",
        "no NVIDIA driver is loaded, and stack cuda12 needs 525.60.13 or newer",
        "-> run on a host with NVIDIA GPUs and their driver, or do INSTEAD",
    ]


def test_one_that_does_not_tell_is_left_to_cuda() -> None:
    assert told(None, unread="NVRM version: something") == [
        "the NVIDIA driver's version cannot be read from /proc/driver/nvidia/version: "
        "'NVRM version: something', and nvidia-smi does not tell it; "
        "stack cuda12 needs 525.60.13 or newer"
    ]


@pytest.mark.parametrize("driver", ["525.60.13", "525.105.17", "1000.1"])
def test_new_enough(driver: str) -> None:
    assert told(driver) == []


def test_a_stack_without_gpus_needs_no_driver() -> None:
    assert told(None, Promises()) == []


@pytest.mark.parametrize("driver", [None, "470.82.01"])
def test_a_login_node_is_not_the_one_that_trains(driver: Optional[str]) -> None:
    assert told(driver, scheduler="slurm") == []


@pytest.mark.parametrize("stack", sorted(KNOBS))
def test_the_promise_of_a_stack_names_the_driver_of_its_file(stack: str) -> None:
    promised = promises_for(stack).gpu
    assert (promised.driver if promised else None) == find_stack(PROJECT, stack).driver


@pytest.mark.parametrize("read_only", [False, True])
def test_submit_refuses_and_leaves_nothing(
    data_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    monkeypatch.setitem(KNOBS, "cuda12", KNOBS["cpu"])
    monkeypatch.setitem(_PROMISES, "cuda12", NEEDED)
    config = tmp_path / "config.json"
    lists = {name: str(data_set / f"{name}.txt") for name in ("train", "val")}
    roots = {f"{name}_root": str(data_set) for name in ("train", "val")}
    keys = {"arch": "nin", "nclasses": 2, "insize": 67, "epoch": 1, "batchsize": 2}
    rest = {"mean.npy": str(data_set / "mean.npy"), "out": str(tmp_path / "runs")}
    config.write_text(json.dumps({**keys, **lists, **roots, **rest}))
    host = replace(surroundings(Driver("470.82.01")), cache=Cache(tmp_path / "cache"))
    with pytest.raises(Trouble) as caught:
        plan_submit(config, host, read_only=read_only)
    assert str(caught.value) == (
        "the NVIDIA driver is 470.82.01, and stack cuda12 needs 525.60.13 or newer\n"
        "-> ask your administrator for a newer driver, or write `stack: cpu` into the config"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "data"]


@pytest.fixture
def gpu_run(finished_run: RunFiles) -> RunFiles:
    """As if a run had been made by stack cuda12 on this host."""
    made = json.loads(finished_run.manifest.read_text())
    made["promises"]["gpu"] = {"driver": "525.60.13", "capabilities": ["6.0"]}
    finished_run.manifest.write_text(json.dumps(made))
    return finished_run


def files_below(folder: Path) -> List[Path]:
    return sorted(folder.rglob("*"))


def test_rerun_refuses_and_leaves_nothing(gpu_run: RunFiles, tmp_path: Path) -> None:
    """The stack of an old run is fixed: no other one is advised."""
    before = files_below(tmp_path)
    host = replace(surroundings(Driver()), cache=Cache(tmp_path / "cache"))
    with pytest.raises(Trouble) as caught:
        plan_rerun(gpu_run.root, host, RerunRequest(read_only=True))
    assert str(caught.value) == (
        "no NVIDIA driver is loaded, and stack cpu needs 525.60.13 or newer\n"
        "-> run on a host with NVIDIA GPUs and their driver, "
        "or name with --site a cluster that has them"
    )
    assert files_below(tmp_path) == before


def test_resume_refuses_and_leaves_nothing(
    gpu_run: RunFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "refuse_busy", lambda *_: None)
    monkeypatch.setattr(resume, "refuse_moved", lambda *_: None)
    before = files_below(tmp_path)
    host = replace(surroundings(Driver("470.82.01")), cache=Cache(tmp_path / "cache"))
    with pytest.raises(Trouble) as caught:
        plan_resume(gpu_run.root, host)
    assert str(caught.value) == (
        "the NVIDIA driver is 470.82.01, and stack cpu needs 525.60.13 or newer\n"
        "-> ask your administrator for a newer driver, "
        f"or go on in a new run where there is one: resume: {gpu_run.root}"
    )
    assert files_below(tmp_path) == before
    warned: List[str] = []
    host = replace(host, nvidia_driver=lambda: Driver(unread="something"))
    assert plan_resume(gpu_run.root, host, warned.append).step == 0
    assert warned == [
        "the NVIDIA driver's version cannot be read from /proc/driver/nvidia/version: 'something', "
        "and nvidia-smi does not tell it; stack cpu needs 525.60.13 or newer"
    ]
