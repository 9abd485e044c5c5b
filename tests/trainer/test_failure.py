"""What a rank records when it fails, and what is no failure of the run."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from manifests.outcome import RankGpu
from manifests.schema import SCHEMA_VERSION, GpuClass, GpuPromise, Promises, RunFiles
from trainer.contract import check_cpu
from trainer.failure import report
from trainer.gpu_contract import check_class, check_driver
from trainer.trouble import CannotPromise, TrainerError


class Gone:
    """Standard output whose reader was killed."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")

    def flush(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("number", [errno.EIO, errno.EPIPE])
def test_mpirun_that_was_killed_is_no_failure_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(sys, "stdout", Gone())
    assert report(OSError(number, "gone"), 0, RunFiles(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = RunFiles(tmp_path)
    assert report(OSError(errno.EIO, "Input/output error"), 1, files) == 1
    assert "Input/output error" in files.failure.read_text()
    assert "rank 1: the trainer has a fault: OSError" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [TrainerError, CannotPromise])
def test_a_machine_that_cannot_give_the_promise_is_marked(tmp_path: Path, kind: Any) -> None:
    files = RunFiles(tmp_path)
    assert report(kind("rank 0 has a T4", "run it elsewhere"), 0, files) == 2
    assert json.loads(files.failure.read_text()) == {
        "version": SCHEMA_VERSION,
        "kind": "failure",
        "rank": 0,
        "step": None,
        "message": "rank 0 has a T4",
        "next_step": "run it elsewhere",
        "exit_code": 2,
        "cannot_promise": kind is CannotPromise,
    }


def test_what_cannot_give_the_promise() -> None:
    with pytest.raises(CannotPromise):
        check_cpu(Promises(cpu_features=["avx2"]), "x86_64", {"sse2"})
    promise = GpuPromise(driver="525.60.13", capabilities=["7.0"])
    with pytest.raises(CannotPromise):
        check_driver(promise, "470.1", "n1")
    kind = GpuClass(model="T4", capability="7.5", multiprocessors=40)
    with pytest.raises(CannotPromise):
        check_class(promise, RankGpu(rank=0, host="n", device=0, bus="", kind=kind, memory=1))
