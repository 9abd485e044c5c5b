"""How ranks get onto GPUs where only the image and a host's mpirun are; tried without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from manifests.config.determinism import promises_for
from tests.trainer import conftest, image


class Item:
    """A test with markers."""

    def __init__(self, *markers: str) -> None:
        self._markers = markers

    def get_closest_marker(self, name: str) -> Any:
        return name if name in self._markers else None


def lacking(
    monkeypatch: pytest.MonkeyPatch, *markers: str, through: Tuple[str, ...], **here: Any
) -> str:
    """``through``: GPUs that ranks can use; ``here``: own GPUs, mpirun, in the image or not."""
    monkeypatch.setattr(conftest, "capabilities", lambda: through)
    monkeypatch.setattr(conftest, "capabilities_here", lambda: here.get("own", ()))
    monkeypatch.setattr(conftest, "IN_IMAGE", here.get("in_image", False))
    monkeypatch.setattr(conftest.shutil, "which", lambda name: here.get("mpirun", "/bin/mpirun"))
    item: Any = Item(*markers)
    return conftest.lacking(item)


def test_from_the_host_ranks_use_the_gpus_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks, kernels = ("gpu", "mpi"), ("gpu",)
    assert lacking(monkeypatch, *ranks, through=("9.0",)) == ""
    assert lacking(monkeypatch, *kernels, through=("9.0",)) == (
        "this Python has no CuPy: run it in the image (docs/gpu.md)"
    )
    for markers in (ranks, kernels):
        assert lacking(monkeypatch, *markers, through=()) == (
            "there is no GPU that CuPy can use here"
        )
    assert lacking(monkeypatch, "mpi", through=()) == lacking(monkeypatch, through=()) == ""


def test_in_an_image_without_mpirun_the_rest_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = {"own": ("9.0",), "in_image": True, "mpirun": None}
    assert lacking(monkeypatch, "gpu", through=("9.0",), **inside) == ""
    for markers in (("gpu", "mpi"), ("mpi",)):
        assert lacking(monkeypatch, *markers, through=("9.0",), **inside) == (
            "there is no mpirun here: start it from the host (docs/gpu.md)"
        )


def test_the_ranks_of_a_run_on_gpus_enter_the_image_for_gpus(
    monkeypatch: pytest.MonkeyPatch, make_case: Any
) -> None:
    started: List[List[str]] = []
    monkeypatch.setattr(image, "IN_IMAGE", False)
    monkeypatch.setattr(image, "image_exec", lambda stack="cpu": ("enter", f"{stack}.sif"))
    monkeypatch.setattr(conftest.subprocess, "Popen", lambda argv, **_: started.append(argv))
    case = make_case()
    for gpu in (None, promises_for("cuda12").gpu):
        case.manifest["promises"]["gpu"] = None if gpu is None else gpu.model_dump()
        case.start(3)
    for words, stack in zip(started, ("cpu", "cuda12")):
        assert words[:1] == ["mpirun"] and words[words.index("-np") + 1] == "3"
        at = words.index("enter")
        assert words[at : at + 6] == [
            "enter", "--bind", str(case.root), f"{stack}.sif", "python3", "-m",
        ]  # fmt: skip


def test_gpus_are_asked_for_only_where_a_driver_and_the_image_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(image, "IN_IMAGE", False)
    driver = tmp_path / "version"
    monkeypatch.setattr(image, "VERSION_FILE", driver)
    asked: List[str] = []
    built = [False, True]
    monkeypatch.setattr(image, "is_built", lambda stack: built.pop(0))
    prints = 'print(\'["9.0", "9.0"]\')'

    def python(folder: Path, stack: str) -> List[str]:
        asked.append(stack)
        return [sys.executable, "-c", prints]

    monkeypatch.setattr(image, "image_python", python)
    assert (image.capabilities.__wrapped__(), asked) == ((), [])
    driver.write_text("NVRM version: …")
    assert (image.capabilities.__wrapped__(), asked) == ((), [])
    assert (image.capabilities.__wrapped__(), asked) == (("9.0", "9.0"), ["cuda12"])
    broken = [sys.executable, "-c", "raise ImportError('libcuda.so.1')"]
    assert image.printed_by(broken) == ()
