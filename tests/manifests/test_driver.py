"""A driver too old for a stack is refused by name and number, before anything is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest

from container.cache import Cache
from container.progress import Silent
from container.stack import find_stack
from container.trouble import Trouble
from jobtemplates.sites import PROFILES, load_site
from manifests.determinism import _PROMISES, KNOBS, promises_for
from manifests.schema import GpuPromise, Promises
from manifests.submit import plan_submit, refuse_driver
from manifests.surroundings import Surroundings, loaded_driver, look_around

PROJECT = Path(__file__).resolve().parents[2]
NEEDED = Promises(gpu=GpuPromise(driver="525.60.13", capabilities=["6.0"]))


def surroundings(driver: Optional[str]) -> Surroundings:
    """This machine with a fake of its driver."""
    return replace(look_around(PROJECT, Silent()), nvidia_driver=driver)


def refused(driver: Optional[str], promises: Promises = NEEDED, site: str = "local") -> str:
    """What the person is told; empty when nothing is refused."""
    try:
        refuse_driver("cuda12", promises, load_site(site, [PROFILES]), surroundings(driver))
    except Trouble as trouble:
        return str(trouble)
    return ""


def test_the_driver_of_this_machine_is_read_from_its_version_file(tmp_path: Path) -> None:
    fake = tmp_path / "version"
    assert loaded_driver(fake) is None
    fake.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27\n")
    assert loaded_driver(fake) == "470.82.01"
    fake.write_bytes(b"\xff\x00 something else")
    assert loaded_driver(fake) is None


def test_too_old() -> None:
    assert refused("470.82.01") == (
        "the NVIDIA driver is 470.82.01, and stack cuda12 needs 525.60.13 or newer\n"
        "-> ask your administrator for a newer driver, or take the stack cpu"
    )
    assert refused("525.60.12") != ""


def test_none_at_all() -> None:
    assert refused(None) == (
        "no NVIDIA driver is loaded, and stack cuda12 needs 525.60.13 or newer\n"
        "-> run on a host with NVIDIA GPUs and their driver, or take the stack cpu"
    )


@pytest.mark.parametrize("driver", ["525.60.13", "525.105.17", "1000.1"])
def test_new_enough(driver: str) -> None:
    assert refused(driver) == ""


def test_a_stack_without_gpus_needs_no_driver() -> None:
    assert refused(None, Promises()) == ""


@pytest.mark.parametrize("driver", [None, "470.82.01"])
def test_a_login_node_is_not_the_one_that_trains(driver: Optional[str]) -> None:
    assert refused(driver, site="slurm") == ""


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
    around = replace(surroundings("470.82.01"), cache=Cache(tmp_path / "cache"))
    with pytest.raises(Trouble) as caught:
        plan_submit(config, around, read_only=read_only)
    assert str(caught.value) == (
        "the NVIDIA driver is 470.82.01, and stack cuda12 needs 525.60.13 or newer\n"
        "-> ask your administrator for a newer driver, or take the stack cpu"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "data"]
