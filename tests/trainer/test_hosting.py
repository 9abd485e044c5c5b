"""Runs whose ranks are computed by fewer processes: the same bits as with one process per rank."""

from __future__ import annotations

import json
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest

from manifests.record.checkpoint_names import checkpoints_in
from manifests.record.outcome import Failure, Result
from manifests.record.run_files import RunFiles
from tests.trainer.test_mpi_runs import summed
from tests.trainer.test_resume_runs import below, rank_of
from trainer.order import SampleOrder

pytestmark = pytest.mark.mpi

REDUCE = """
import json, sys, mpi4py
mpi4py.rc.initialize = False
from trainer import ranks as ranks_module
import numpy as np
from types import SimpleNamespace
from trainer.communicators import make_reduction
from tests.trainer.fake_cupy import STREAM, DeviceArray, fake_gpu
from mpi4py import MPI
cases, out, on_gpu = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3] == "gpu"
MPI.Init()
found = {}
for name, size, nodes, length in cases:
    ranks = ranks_module.Ranks(MPI.COMM_WORLD, size, nodes=1)
    reduction = make_reduction(name, ranks, nodes, fake_gpu() if on_gpu else None)
    for repeat in range(2):
        memory = [np.empty((length, 1), np.float32), np.empty(3, np.float32)]
        wrap = DeviceArray if on_gpu else (lambda array: array)
        parameters = [SimpleNamespace(grad=wrap(array), data=1) for array in memory]
        model = SimpleNamespace(namedparams=lambda: zip(["/a", "/b"], parameters))
        for rank in ranks.hosted:
            rng = np.random.Generator(np.random.Philox(rank))
            for array in memory:
                array[...] = rng.standard_normal(array.shape, np.float32)
            reduction.add(model)
            STREAM.synchronize()
        reduction.finish(model)
        STREAM.synchronize()
    sums = np.concatenate([array.ravel() for array in memory])
    assert len(set(ranks.gather(sums.tobytes()))) == 1
    found[f"{name} {size} {nodes} {length}"] = sums
if MPI.COMM_WORLD.Get_rank() == 0:
    np.savez(out, **found)
"""

BY_NODE = ("hierarchical", "two_dimensional")


def reductions(processes: int, names: Tuple[str, ...]) -> List[Tuple[str, int, int, int]]:
    """(communicator, ranks, nodes, elements besides three); some have fewer than processes."""
    return [
        (name, ranks, nodes, length)
        for name in names
        for ranks in (*range(processes, 9), 17)
        for nodes in range(1, ranks + 1)
        for length in ((0, 2003) if ranks < 9 else (1,))
        if ranks % nodes == 0 and (nodes == 1 or name in BY_NODE)
    ]


def model_of(name: str, ranks: int, nodes: int, length: int) -> Any:
    """The mean by the order that docs/determinism.md promises."""
    generators = [np.random.Generator(np.random.Philox(rank)) for rank in range(ranks)]
    values = [
        np.concatenate([g.standard_normal(n, dtype=np.float32) for n in (length, 3)])
        for g in generators
    ]
    return summed(name, nodes, values) * np.float32(1.0 / ranks)


@pytest.mark.parametrize(
    ("processes", "device"),
    [(1, "cpu"), (2, "cpu"), (3, "cpu"), (4, "cpu"), (1, "gpu"), (3, "gpu")],
)
def test_every_order_on_fewer_processes(
    make_case: Any,
    launch_ranks: Any,
    python_for: Any,
    fixed_mca: Any,
    tmp_path: Path,
    processes: int,
    device: str,
) -> None:
    """Up to 8 and 17 ranks, every number of nodes that divides them, bit by bit; ``gpu`` is the
    project's fake of CuPy and NCCL. All processes lie on one node."""
    names: Tuple[str, ...] = ("naive", "flat", "ordered")
    if device == "cpu":
        names += (*BY_NODE, "single_node")
    cases = reductions(processes, names)
    if device == "gpu":  # as many processes as ranks: those communicators have their own test
        cases = [case for case in cases if case[1] > processes]
    out = tmp_path / "sums.npz"
    command = [*python_for(tmp_path), "-c", REDUCE, json.dumps(cases), str(out), device]
    done = launch_ranks(command, processes, fixed_mca, make_case().environment())
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        assert len(found.files) == len(cases) > 20
        for case in cases:
            sums = found[" ".join(map(str, case))]
            assert sums.tobytes() == model_of(*case).tobytes(), case


TWO_LEVELS = """
import json, sys, mpi4py
mpi4py.rc.initialize = False
import numpy as np
from trainer.ranks import join
from trainer.communicators import ordered, nodes
from trainer.communicators.summation import SumOrder
processes, per_node, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
world = join(processes)
ordered.node_communicator = lambda mpi: nodes.node_communicator(mpi, lambda rank: rank // per_node)
levels = ordered.make_levels(world.mpi, SumOrder(processes), None, one_level=1)
rng = np.random.Generator(np.random.Philox(world.rank))
buffer = rng.standard_normal(2003 + 3, dtype=np.float32)
ordered.reduce_by_levels(buffer, levels)
assert len(set(world.gather(buffer.tobytes()))) == 1
if world.rank == 0:
    np.savez(out, sums=buffer, orders=[level.order.ranks for level in levels])
"""


@pytest.mark.parametrize(
    ("processes", "per_node", "levels"),
    [(4, 2, [2, 2]), (6, 2, [2, 3]), (6, 3, [6]), (6, 6, [2, 3]), (8, 4, [4, 2]), (5, 5, [5])],
)
def test_two_levels_have_the_bits_of_one(
    make_case: Any,
    launch_ranks: Any,
    python_for: Any,
    fixed_mca: Any,
    tmp_path: Path,
    processes: int,
    per_node: int,
    levels: List[int],
) -> None:
    out = tmp_path / "sums.npz"
    command = [*python_for(tmp_path), "-c", TWO_LEVELS, str(processes), str(per_node), str(out)]
    done = launch_ranks(command, processes, fixed_mca, make_case().environment())
    assert done.returncode == 0, done.stderr
    generators = [np.random.Generator(np.random.Philox(rank)) for rank in range(processes)]
    values = [g.standard_normal(2003 + 3, dtype=np.float32) for g in generators]
    with np.load(out) as found:
        assert found["orders"].tolist() == levels
        assert found["sums"].tobytes() == summed("ordered", 1, values).tobytes()


def outcome(files: RunFiles, ranks: int) -> Dict[str, Any]:
    """What must be the same bits whoever computed the ranks, and the last checkpoint's state."""
    result = Result.model_validate_json(files.result.read_bytes())
    rows = [json.loads(line) for line in files.log.read_text().splitlines()]
    for row in rows:
        del row["elapsed_time"], row["images/s"]
    found = {
        "digests": result.digests,
        "trails": [files.trail_of(rank).read_bytes() for rank in range(ranks)],
        "model": files.model.read_bytes(),
        "rows": rows,
    }
    for path in checkpoints_in(files.checkpoints)[:1]:
        found["state"] = state_of(path)
    return found


def state_of(checkpoint: Path) -> Dict[str, Any]:
    """All arrays, and the head without times."""
    with zipfile.ZipFile(checkpoint) as archive:
        state: Dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    head = json.loads(state.pop("head.json"))
    for name in ("elapsed", "resumed_at", "log"):
        del head[name]
    for sums in head["sums"]:
        del sums["seconds"]
    return {**state, "head": head}


def run(
    make_case: Any,
    name: str,
    ranks: int,
    processes: int,
    *,
    nodes: int = 1,
    placed_on: Optional[int] = None,
    **changes: Any,
) -> Any:
    """``placed_on``: nodes that the job was asked for, where they are not the identity's."""
    case = make_case(name, **changes)
    case.manifest["identity"]["world"] = {"ranks": ranks, "nodes": nodes}
    placement = case.manifest["circumstance"]["placement"]
    if processes != ranks:
        placement["processes"] = processes
    if placed_on is not None:
        placement["nodes"] = placed_on
    case.manifest["circumstance"]["checkpointing"] = {"interval": 2, "kept": 1}
    case.seal()
    done = case.launch(processes)
    noise = [line for line in done.stderr.splitlines() if not line.startswith("step ")]
    assert (done.returncode, noise) == (0, [])
    return case


def test_a_run_on_fewer_processes(make_case: Any) -> None:
    """Three ranks, so two processes have one and two; the validation shares differ in size."""
    expected = outcome(run(make_case, "three", 3, 3, epochs=1).files, 3)
    for processes in (1, 2):
        case = run(make_case, f"on {processes}", 3, processes, epochs=1)
        assert outcome(case.files, 3) == expected, processes
        seen = Result.model_validate_json(case.files.result.read_bytes()).observed
        assert seen.processes == processes
        assert [place.rank for place in seen.ranks] == [0, 1, 2]
        assert [place.local_rank for place in seen.ranks] == [k % processes for k in range(3)]


@pytest.mark.long
@pytest.mark.parametrize("communicator", ["hierarchical", "flat", "two_dimensional", "ordered"])
def test_every_communicator_on_any_processes_and_nodes(make_case: Any, communicator: str) -> None:
    """Six ranks on one node, in the order of two: for the tests there is no second one, so the run
    is held against itself on other numbers of processes, up to as many as ranks."""
    settings: Dict[str, Any] = {"communicator": communicator, "epochs": 2, "batchsize": 1}
    found = {
        processes: outcome(
            run(make_case, f"{processes}", 6, processes, nodes=2, placed_on=1, **settings).files,
            6,
        )
        for processes in (1, 2, 4, 6)
    }
    for processes, one in found.items():
        assert one == found[6], processes
    single = outcome(run(make_case, "single", 6, 1, nodes=1, **settings).files, 6)
    same = communicator not in BY_NODE
    assert (single["digests"].parameters == found[1]["digests"].parameters) == same


@pytest.mark.slow
@pytest.mark.parametrize("iterator", ["thread", "process"])
def test_loaders_of_a_process_with_several_ranks(make_case: Any, iterator: str) -> None:
    loading = {"iterator": iterator, "loaderjob": 2}
    expected = outcome(run(make_case, "serial", 4, 2, epochs=2).files, 4)
    case = run(make_case, iterator, 4, 2, epochs=2, loading=loading)
    assert outcome(case.files, 4) == expected


@pytest.mark.long
@pytest.mark.parametrize(
    ("arch", "ranks", "batchsize"), [("resnet50", 3, 1), ("googlenetbn", 2, 2)]
)
def test_networks_with_batch_normalisation(
    make_case: Any, arch: str, ranks: int, batchsize: int
) -> None:
    """Each rank's running statistics are its own: parameters and trail would not show it where
    ranks of a process shared them, only the model, validation and a checkpoint's state do."""
    # Auxiliary layers of GoogLeNet normalise one number per image; Chainer warns of a batch of 1.
    settings: Dict[str, Any] = {"arch": arch, "insize": 224, "epochs": 1, "batchsize": batchsize}
    native = run(make_case, "native", ranks, ranks, **settings)
    expected = outcome(native.files, ranks)
    own = [
        [
            value
            for name, value in expected["state"].items()
            if name.startswith(f"statistics/{k:05d}")
        ]
        for k in range(ranks)
    ]
    assert own[0] and own[0] != own[1]  # so that sharing would be seen
    for processes in range(1, ranks):
        case = run(make_case, f"on {processes}", ranks, processes, **settings)
        assert outcome(case.files, ranks) == expected, processes


@pytest.mark.long
def test_a_thousand_ranks_on_one_and_two_processes(make_case: Any) -> None:
    """One step of 1024 batches of one image each; nobody here has a thousand processes, so the two
    are held against each other, and the sums against the model of the order by the other tests.

    The sums that wait are what a process needs beside a run of one rank: ten of the gradients' size
    with one process, five with two, which have their own copy of the network each.
    """
    settings: Dict[str, Any] = {"batchsize": 1, "epochs": 1, "communicator": "ordered"}
    most, found = {}, {}
    for processes in (1, 2):
        case = make_case(f"on {processes}", **settings)
        case.manifest["identity"]["world"]["ranks"] = 1024
        case.manifest["circumstance"]["placement"]["processes"] = processes
        case.seal()
        with case.start(processes) as launched:
            most[processes] = peak_memory(launched)
            _, errors = launched.communicate(timeout=900)
        assert launched.returncode == 0, errors
        found[processes] = outcome(case.files, 1024)
    assert found[1] == found[2]
    case = make_case("one rank", **settings)
    case.manifest["identity"]["world"]["ranks"] = 1
    case.seal()
    with case.start(1) as launched:
        alone = peak_memory(launched)
    gradients = case.files.model.stat().st_size
    depth = 10  # log2 of 1024
    assert most[1] < alone + (1 + depth) * gradients + SLACK
    assert most[2] < alone + (2 + depth / 2) * gradients + SLACK


def peak_memory(launched: Any) -> float:
    """The most that one trainer below ``launched`` had in memory, in bytes, until it ended."""
    most = 0
    while launched.poll() is None:
        for pid in below(launched.pid):
            with suppress(OSError, IndexError, ValueError):
                if rank_of(pid)[1]:
                    text = Path(f"/proc/{pid}/status").read_text()
                    most = max(most, int(text.partition("VmHWM:")[2].split()[0]))
        time.sleep(0.05)
    return 1024.0 * most


#: Bytes for a thousand trails, and what MPI needs.
SLACK = 150e6


def test_fewer_processes_than_declared(make_case: Any) -> None:
    """A lost launcher starts as many runs as processes: each finds that it is alone."""
    case = make_case()
    case.manifest["identity"]["world"]["ranks"] = 4
    case.manifest["circumstance"]["placement"]["processes"] = 2
    case.seal()
    done = case.launch(1)
    record = Failure.model_validate_json(case.files.failure.read_bytes())
    assert (done.returncode, record.message, record.next_step) == (
        2,
        "MPI gives 1 process, the job was made for 2 (of a run of 4 ranks): this process did not "
        "find the launcher",
        "use the Open MPI of the same family as the image's on the host, and do not start the "
        "container with --cleanenv or --containall",
    )
    assert not case.files.result.exists()


def test_a_failure_names_the_rank_at_work(make_case: Any) -> None:
    """Not the first one of its process: here the last of four in the first step."""
    case = make_case(epochs=1)
    case.manifest["identity"]["world"]["ranks"] = 4
    case.manifest["circumstance"]["placement"]["processes"] = 2
    order = SampleOrder(seed=7, samples=10, batchsize=2, ranks=4, epochs=1)
    (broken,) = {order.batch(0, 3)[1].sample}
    name = case.train[broken]
    (case.train_root / name).write_bytes(b"no image")
    case.seal()
    done = case.launch(2)
    record = Failure.model_validate_json(case.files.failure.read_bytes())
    assert (done.returncode, record.rank, record.step) == (2, 3, 1)
    assert record.message.startswith(f"image {name!r}") and "rank 3, step 1: " in done.stderr
