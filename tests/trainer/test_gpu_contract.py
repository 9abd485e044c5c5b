"""Which GPU a rank takes, which are refused, and what the driver and NCCL say; without a GPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, List

import numpy as np
import pytest

from manifests.config.determinism import promises_for
from manifests.record.communicators import COMMUNICATOR_KINDS
from manifests.record.outcome import RankGpu, SeenGpus
from manifests.record.run_files import RunFiles
from manifests.record.schema import GpuClass, GpuPromise
from trainer import device as device_module
from trainer import session
from trainer.device import CPU, open_device
from trainer.gpu import facts as gpu_facts
from trainer.gpu.contract import check_apart, check_class, check_driver, device_for
from trainer.gpu.facts import gpu_of_rank, visible_gpus
from trainer.gpu.gpu import Gpu
from trainer.trouble import TrainerError

V100 = GpuClass(model="Tesla V100-SXM2-16GB", capability="7.0", multiprocessors=80)
A100 = GpuClass(model="NVIDIA A100-SXM4-40GB", capability="8.0", multiprocessors=108)
K80 = GpuClass(model="Tesla K80", capability="3.7", multiprocessors=13)
SHARED = (
    "(runs with communicator naive or flat may also have `share_gpus: true` in their config: then "
    "ranks take turns)"
)
PROMISE = GpuPromise(driver="525.60.13", capabilities=["6.0", "7.0"])


def gpu(rank: int, kind: GpuClass = V100, bus: str = "", host: str = "n1") -> RankGpu:
    bus = bus or f"0000:{rank:02x}:00.0"
    return RankGpu(rank=rank, host=host, device=0, bus=bus, kind=kind, memory=16 << 30)


def refusal(check: Callable[[], Any]) -> str:
    with pytest.raises(TrainerError) as refused:
        check()
    return str(refused.value)


def test_a_rank_takes_the_gpu_of_its_number_on_the_node() -> None:
    assert [device_for(k, 4, 4, "n1") for k in range(4)] == [0, 1, 2, 3]
    assert device_for(1, 2, 8, "n1") == 1


def test_a_rank_that_is_shown_one_gpu_takes_it() -> None:
    assert [device_for(k, 4, 1, "n1") for k in range(4)] == [0, 0, 0, 0]


def test_too_few_gpus() -> None:
    assert refusal(lambda: device_for(0, 1, 0, "n1")) == (
        "no GPU is visible on n1; the run was made for one per rank\n"
        "-> ask the scheduler for a GPU per rank, and start the run by its job.sh"
    )
    assert refusal(lambda: device_for(1, 4, 2, "n1")) == (
        "2 GPUs are visible on n1 for its 4 ranks\n"
        f"-> ask the scheduler for a GPU per rank on each node {SHARED}"
    )


def test_ranks_that_may_share_take_turns() -> None:
    taken = [device_for(k, 5, 2, "n1", shared=True) for k in range(5)]
    assert taken == [0, 1, 0, 1, 0]
    assert [device_for(k, 2, 1, "n1", shared=True) for k in range(2)] == [0, 0]
    assert [device_for(k, 2, 4, "n1", shared=True) for k in range(2)] == [0, 1]
    assert refusal(lambda: device_for(0, 2, 0, "n1", shared=True)).startswith("no GPU is visible")


def test_driver() -> None:
    for fit in ("525.60.13", "525.105.17", "535.54.03", "550.5", ""):
        check_driver(PROMISE, fit, "n1")
    for old in ("470.82.01", "525.60.11", "525.60"):
        assert refusal(lambda old=old: check_driver(PROMISE, old, "n1")) == (
            f"the NVIDIA driver of n1 is {old}, "
            "the run's libraries need 525.60.13 or newer\n"
            "-> run it on nodes with a newer driver, or ask the administrator of the site for one"
        )


def test_a_gpu_without_native_code() -> None:
    check_class(PROMISE, gpu(0))
    assert refusal(lambda: check_class(PROMISE, gpu(3, K80))) == (
        "rank 3 on n1 has a Tesla K80 (compute capability 3.7, 13 multiprocessors); the run's "
        "image has code for compute capability 6.0, 7.0 only\n"
        "-> ask the scheduler for other GPUs"
    )


def test_a_gpu_of_another_class_than_the_first_runs() -> None:
    promise = PROMISE.model_copy(update={"classes": [V100]})
    check_class(promise, gpu(0))
    fewer = V100.model_copy(update={"multiprocessors": 72})
    assert refusal(lambda: check_class(promise, gpu(1, fewer))) == (
        "rank 1 on n1 has a Tesla V100-SXM2-16GB (compute capability 7.0, 72 multiprocessors); "
        "the run was made on Tesla V100-SXM2-16GB (compute capability 7.0, 80 multiprocessors): "
        "on another class of GPU the bits differ\n"
        "-> run it on such GPUs, or rerun it with --other-gpu: a difference is inconclusive then"
    )
    # A field that a newer version adds to a class does not make it another one.
    check_class(promise, gpu(0, GpuClass.model_validate({**V100.model_dump(), "new": 1})))


def test_two_ranks_on_one_gpu() -> None:
    bus = "0000:3b:00.0"
    check_apart([gpu(0, bus=bus), gpu(1), gpu(2, bus=bus, host="n2")])
    assert refusal(lambda: check_apart([gpu(0), gpu(1, bus=bus), gpu(2, bus=bus)])) == (
        "ranks 1 and 2 on n1 work on the same GPU, 0000:3b:00.0\n"
        "-> let the scheduler show all GPUs of a node to all its ranks (Slurm: --gpus-per-node), "
        f"and ask for one per rank {SHARED}"
    )


def test_parts_of_one_card_are_apart() -> None:
    bus = "0000:3b:00.0"
    parts = [
        gpu(rank, bus=bus).model_copy(update={"uuid": uuid})
        for rank, uuid in enumerate(("0a", "0b"))
    ]
    check_apart(parts)
    again = gpu(2, bus=bus).model_copy(update={"uuid": "0b"})
    assert refusal(lambda: check_apart([*parts, again])).startswith(
        "ranks 1 and 2 on n1 work on the same GPU, 0000:3b:00.0\n"
    )


# --- a machine with GPUs, made up --------------------------------------------------------------


class CUDARuntimeError(RuntimeError):
    pass


class Runtime:
    """The part of ``cupy.cuda.runtime`` that is used, as a node with ``count`` equal GPUs."""

    CUDARuntimeError = CUDARuntimeError

    def __init__(self, count: int, kind: GpuClass = V100) -> None:
        self._count = count
        self._kind = kind

    def getDeviceCount(self) -> int:
        if not self._count:
            raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return self._count

    def getDeviceProperties(self, device: int) -> Any:
        major, minor = map(int, self._kind.capability.split("."))
        return {
            "name": self._kind.model.encode(),
            "major": major,
            "minor": minor,
            "multiProcessorCount": self._kind.multiprocessors,
            "totalGlobalMem": 16 << 30,
            "uuid": bytes([0xAB, device]),
        }

    def deviceGetPCIBusId(self, device: int) -> str:
        return f"0000:{0x3B + device:02X}:00.0"


def fake_cupy(runtime: Runtime, used: List[int]) -> Any:
    device = lambda number: SimpleNamespace(use=lambda: used.append(number))  # noqa: E731
    return SimpleNamespace(cuda=SimpleNamespace(runtime=runtime, Device=device))


def test_facts_of_a_gpu() -> None:
    cupy = fake_cupy(Runtime(2), [])
    assert visible_gpus(cupy) == 2
    assert gpu_of_rank(cupy, 1, 5, "n2") == RankGpu(
        rank=5, host="n2", device=1, bus="0000:3c:00.0", kind=V100, memory=16 << 30, uuid="ab01"
    )
    assert visible_gpus(fake_cupy(Runtime(0), [])) == 0


class Node:
    """A world of ranks on one node, of which this is one; the others have GPUs of the same kind."""

    def __init__(self, rank: int, ranks: int) -> None:
        self.rank, self.size, self.mpi = rank, ranks, None
        self.processes = ranks
        self.hosted = (rank,)
        self.gpus = ranks

    def gather(self, own: RankGpu) -> List[RankGpu]:
        devices = [k % self.gpus for k in range(self.size)]
        return [
            own.model_copy(update={"rank": k, "device": n, "bus": f"0000:{0x3B + n:02x}:00.0"})
            for k, n in enumerate(devices)
        ]

    def by_rank(self, own: List[RankGpu]) -> List[RankGpu]:
        return self.gather(own[0])


def on_node(monkeypatch: pytest.MonkeyPatch, runtime: Runtime, rank: int, ranks: int) -> List[int]:
    """Have this process be a rank there; returns the list of GPUs it chose."""
    used: List[int] = []
    inside = SimpleNamespace(Get_rank=lambda: rank, Get_size=lambda: ranks)
    settings = {"autotune": "False"}
    monkeypatch.setattr(device_module, "this_gpu", lambda: Gpu(fake_cupy(runtime, used), None))
    monkeypatch.setattr(device_module, "node_communicator", lambda mpi: inside)
    monkeypatch.setattr(device_module, "apply_settings", lambda *, mixed: settings)
    monkeypatch.setattr(device_module, "host_name", lambda: "n1")
    monkeypatch.setattr(gpu_facts, "driver_version", lambda: "535.104.05")
    return used


def manifest_for(
    promises: Any,
    precision: str = "float32",
    communicator: str = "pure_nccl",
    *,
    share_gpus: bool = False,
) -> Any:
    training = SimpleNamespace(precision=precision, communicator=communicator)
    placement = SimpleNamespace(share_gpus=share_gpus)
    return SimpleNamespace(
        promises=promises,
        identity=SimpleNamespace(training=training),
        circumstance=SimpleNamespace(placement=placement),
    )


def test_a_run_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    used = on_node(monkeypatch, Runtime(4), 2, 4)
    world: Any = Node(2, 4)
    opened = open_device(world, manifest_for(promises_for("cuda12"), "mixed"))
    assert used == [2] == [opened.number]
    assert opened.gpu is not None and np.dtype(opened.dtype) == np.float16
    seen = opened.seen_with({"version": "2.19.3"})
    assert isinstance(seen, SeenGpus)
    assert (seen.driver, seen.settings) == ("535.104.05", {"autotune": "False"})
    assert seen.nccl == {"version": "2.19.3"}
    assert [rank.bus for rank in seen.ranks] == [f"0000:{k}:00.0" for k in ("3b", "3c", "3d", "3e")]


@pytest.mark.parametrize("communicator", ["naive", "flat"])
@pytest.mark.parametrize("gpus", [1, 2])
def test_ranks_share_gpus_where_asked_for(
    monkeypatch: pytest.MonkeyPatch, communicator: str, gpus: int
) -> None:
    promises = promises_for("cuda12")
    for rank in range(3):
        used = on_node(monkeypatch, Runtime(gpus), rank, 3)
        world: Any = Node(rank, 3)
        world.gpus = gpus
        manifest = manifest_for(promises, communicator=communicator, share_gpus=True)
        opened = open_device(world, manifest)
        assert used == [rank % gpus] == [opened.number]
        assert opened.seen is not None
        assert [seen.device for seen in opened.seen.ranks] == [k % gpus for k in range(3)]


@pytest.mark.parametrize(
    ("communicator", "processes", "share_gpus"),
    [
        *((name, 2, True) for name, kind in COMMUNICATOR_KINDS.items() if not kind.host_memory),
        ("naive", 2, False),
        # Processes with more than one rank meet by NCCL, whatever the communicator.
        ("naive", 1, True),
    ],
)
def test_ranks_do_not_share_gpus_otherwise(
    monkeypatch: pytest.MonkeyPatch, communicator: str, processes: int, share_gpus: bool
) -> None:
    on_node(monkeypatch, Runtime(1), 1, 2)
    world: Any = Node(1, 2)
    world.gpus, world.processes = 1, processes
    manifest = manifest_for(
        promises_for("cuda12"), communicator=communicator, share_gpus=share_gpus
    )
    assert refusal(lambda: open_device(world, manifest)) == (
        "ranks 0 and 1 on n1 work on the same GPU, 0000:3b:00.0\n"
        "-> let the scheduler show all GPUs of a node to all its ranks (Slurm: --gpus-per-node), "
        f"and ask for one per rank {SHARED}"
    )


def test_what_a_gpu_raises_while_a_run_trains_names_the_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_node(monkeypatch, Runtime(4), 2, 4)
    lost = type("CUDARuntimeError", (RuntimeError,), {"__module__": "cupy_backends.cuda.api"})

    def fail(*_: Any) -> None:
        raise lost("cudaErrorECCUncorrectable: uncorrectable ECC error encountered")

    monkeypatch.setattr(session, "open_data", fail)
    world: Any = Node(2, 4)
    rest: Any = [None, RunFiles(tmp_path), manifest_for(promises_for("cuda12")), 0.0, None]
    assert refusal(lambda: session.train_and_save(world, *rest)) == (
        "GPU 0000:3d:00.0 of rank 2 on n1 failed: "
        "cudaErrorECCUncorrectable: uncorrectable ECC error encountered\n"
        "-> resume the run on another node (bundle.py resume RUN); if it fails there too, report "
        "it with the traceback in the run's logs"
    )


def test_a_run_with_gpus_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    used = on_node(monkeypatch, Runtime(0), 0, 1)
    world: Any = Node(0, 1)
    text = refusal(lambda: open_device(world, manifest_for(promises_for("cuda12"))))
    assert text.startswith("no GPU is visible on n1;") and used == []


def test_an_old_driver_is_named_before_cuda_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    used = on_node(monkeypatch, Runtime(0), 0, 1)
    monkeypatch.setattr(gpu_facts, "driver_version", lambda: "470.82.01")
    world: Any = Node(0, 1)
    text = refusal(lambda: open_device(world, manifest_for(promises_for("cuda12"))))
    assert text.startswith("the NVIDIA driver of n1 is 470.82.01,") and used == []


def test_a_run_without_gpus() -> None:
    world: Any = Node(0, 1)
    opened = open_device(world, manifest_for(promises_for("cpu")))
    assert opened is CPU and opened.gpu is None and opened.seen_with({}) is None
    assert refusal(lambda: open_device(world, manifest_for(promises_for("cpu"), "mixed"))) == (
        "precision mixed needs GPUs and this run has none\n"
        "-> submit a new run with precision float32, or on a stack with GPUs"
    )
