"""What a rank records when it fails, and what is not a failure of the run."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from manifests.record.outcome import RankGpu
from manifests.record.run_files import RunFiles
from manifests.record.schema import GpuClass, GpuPromise, Promises
from manifests.record.version import SCHEMA_VERSION
from trainer.contract import check_cpu
from trainer.failure import report
from trainer.gpu.contract import check_class, check_driver
from trainer.gpu.failure import LIBRARIES, PACKAGES, gpu_failure, gpu_failures
from trainer.trouble import CannotPromise, TrainerError, at_step


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
    assert report(OSError(number, "gone"), 0, RunFiles(tmp_path)) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = RunFiles(tmp_path)
    assert report(OSError(errno.EIO, "Input/output error"), 1, files) == 2
    assert "Input/output error" in files.failure.read_text()
    said = capsys.readouterr().err
    assert "\nrank 1: the system of " in said
    assert " refused: Input/output error\n-> look after this node, then start" in said


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


def fake_of(module: str, name: str, base: type[Exception] = RuntimeError) -> type[Exception]:
    """An error class of that name and place; CuPy itself is not needed."""
    return type(name, (base,), {"__module__": module})


def failed_with(error: Exception, files: RunFiles) -> int:
    try:
        with gpu_failures(3, "n7", "0000:3b:00.0"), at_step(12):
            raise error
    except Exception as told:
        return report(told, 3, files)


def test_a_gpu_with_too_little_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = RunFiles(tmp_path)
    error = fake_of("cupy.cuda.memory", "OutOfMemoryError", MemoryError)
    text = "Out of memory allocating 4,294,967,296 bytes (allocated so far: 15,032,385,536 bytes)."
    assert failed_with(error(text), files) == 2
    message = f"rank 3 on n7: GPU 0000:3b:00.0 has too little memory: {text}"
    advice = (
        "submit a new run with a smaller batchsize and val_batchsize; if another process has "
        "memory on this GPU (nvidia-smi), resume the run on another node (bundle.py resume RUN)"
    )
    found = json.loads(files.failure.read_text())
    assert (found["message"], found["next_step"], found["step"]) == (message, advice, 12)
    assert (found["rank"], found["cannot_promise"]) == (3, False)
    assert capsys.readouterr().err == f"rank 3, step 12: {message}\n-> {advice}\n"
    assert list(tmp_path.iterdir()) == [files.failure]


@pytest.mark.parametrize(("module", "name", "text"), [
    ("cupy_backends.cuda.api.runtime", "CUDARuntimeError",
     "cudaErrorECCUncorrectable: uncorrectable ECC error encountered"),
    ("cupy_backends.cuda.api.driver", "CUDADriverError", "CUDA_ERROR_UNKNOWN: unknown error"),
    ("cupy_backends.cuda.libs.cudnn", "CuDNNError",
     "CUDNN_STATUS_EXECUTION_FAILED: CUDNN_STATUS_EXECUTION_FAILED"),
    ("cupy_backends.cuda.libs.cublas", "CUBLASError", "CUBLAS_STATUS_EXECUTION_FAILED"),
    ("cupy_backends.cuda.libs.nccl", "NcclError",
     "NCCL_ERROR_UNHANDLED_CUDA_ERROR: unhandled cuda error"),
])  # fmt: skip
def test_a_gpu_that_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], module: str, name: str, text: str
) -> None:
    files = RunFiles(tmp_path)
    assert failed_with(fake_of(module, name)(text), files) == 2
    message = f"GPU 0000:3b:00.0 of rank 3 on n7 failed: {text}"
    advice = (
        "resume the run on another node (bundle.py resume RUN); if it fails there too, report it "
        "with the traceback in the run's logs"
    )
    found = json.loads(files.failure.read_text())
    assert (found["message"], found["next_step"], found["step"]) == (message, advice, 12)
    said = capsys.readouterr().err
    assert said.endswith(f"rank 3, step 12: {message}\n-> {advice}\n")
    assert "raise error\n" in said  # it may be the trainer's fault


@pytest.mark.parametrize("error", [
    fake_of("trainer.somewhere", "CUDARuntimeError")("of the same name"),
    fake_of("cupy.somewhere", "AxisError", ValueError)("a wrong call"),
])  # fmt: skip
def test_other_errors_are_the_trainers_fault(tmp_path: Path, error: Exception) -> None:
    files = RunFiles(tmp_path)
    assert failed_with(error, files) == 1
    found = json.loads(files.failure.read_text())
    assert found["message"] == f"the trainer has a fault: {type(error).__name__}: {error}"


def test_errors_that_cupy_has_are_the_ones_that_are_known() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed here")
    from cupy.cuda import cublas, cudnn, driver, memory, nccl, runtime

    assert cupy
    errors = [runtime.CUDARuntimeError, driver.CUDADriverError, cudnn.CuDNNError]
    errors += [cublas.CUBLASError, nccl.NcclError]
    assert sorted(kind.__name__ for kind in errors) == sorted(LIBRARIES)
    assert {kind.__module__.split(".")[0] for kind in errors} <= set(PACKAGES)
    found = gpu_failure(memory.OutOfMemoryError(1, 2), 0, "n", "b")
    assert found and "too little memory" in found.message
