"""Communicators on GPUs: their topology on a fake of CuPy and NCCL, over real MPI ranks.

The real ones need GPUs: they never ran there.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

from manifests.record.keys import Communicator, values_of
from tests.trainer.image import GPU_STACK, capabilities
from tests.trainer.test_mpi_runs import doubling

REDUCE = """
import json, sys, mpi4py
mpi4py.rc.initialize = False
from trainer.ranks import join
import numpy as np
from types import SimpleNamespace
from tests.trainer.fake_cupy import STREAM, DeviceArray, fake_gpu
from trainer.communicators import COMMUNICATORS
ranks, cases, out = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
world = join(ranks)
found = {}
for name, nodes, size in cases:
    block = ranks // nodes
    place = {"node_of": lambda rank: rank // block} if nodes > 1 else {}
    communicator = COMMUNICATORS[name](world.mpi, nodes, gpu=fake_gpu(), **place)
    assert communicator.local_rank == world.rank % block
    rng = np.random.Generator(np.random.Philox(world.rank))
    memory = [rng.standard_normal((size, 1), dtype=np.float32), rng.standard_normal(3, np.float32)]
    first = [array.copy() for array in memory]
    parameters = [SimpleNamespace(grad=DeviceArray(array)) for array in memory]
    model = SimpleNamespace(namedparams=lambda: zip(["/a", "/b"], parameters))
    for repeat in range(2):
        for array, value in zip(memory, first):
            array[...] = value
        STREAM.log.clear()
        communicator.average_gradients(model)
        STREAM.synchronize()
    sums = np.concatenate([array.ravel() for array in memory])
    assert len(set(world.gather(sums.tobytes()))) == 1
    found[f"{name} {nodes} {size}"] = sums
    found[f"{name} {nodes} {size} logs"] = np.array(json.dumps(world.gather(STREAM.log)))
if world.rank == 0:
    np.savez(out, **found)
"""


def in_reverse(values: List[Any]) -> Any:
    """The order of the fake's NCCL."""
    total = values[-1].copy()
    for value in values[-2::-1]:
        total += value
    return total


def summed(name: str, nodes: int, values: List[Any]) -> Any:
    if name in ("naive", "flat", "ordered"):
        return doubling(values)
    if name == "pure_nccl":
        return in_reverse(values)
    block = len(values) // nodes
    return doubling([in_reverse(values[k : k + block]) for k in range(0, len(values), block)])


def steps(name: str, nodes: int, ranks: int, rank: int) -> List[str]:
    """What the rank's stream is given."""
    staged = ["to host", "to device"]
    across = staged if nodes > 1 else []
    first = rank % (ranks // nodes) == 0
    return {
        "naive": 2 * staged if ranks > 1 else [],
        "flat": staged if ranks > 1 else [],
        "ordered": 2 * (["group"] if ranks > 1 else []),
        "pure_nccl": ["allReduce"],
        "hierarchical": ["reduce", *(across if first else []), "broadcast"],
        "two_dimensional": ["reduceScatter", *across, "allGather"],
        "single_node": ["reduceScatter", "allGather"],
    }[name]


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [1, 2, 4, 6])
def test_topology_on_a_fake_of_nccl(
    make_case: Any,
    launch_ranks: Any,
    python_for: Any,
    fixed_mca: Any,
    tmp_path: Path,
    ranks: int,
) -> None:
    """A fake: what is tested is who adds what to whom, when somebody waits, and that MPI sees host
    memory only; some buffers hold fewer gradients than ranks."""
    cases = [
        (name, nodes, size)
        for name in values_of(Communicator)
        for nodes in (1, 2, 3)
        for size in (0, 1, 2003)
        if ranks % nodes == 0 and (nodes == 1 or name in ("hierarchical", "two_dimensional"))
    ]
    out = tmp_path / "sums.npz"
    command = [*python_for(tmp_path), "-c", REDUCE, str(ranks), json.dumps(cases), str(out)]
    done = launch_ranks(command, ranks, fixed_mca, make_case().environment())
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        for name, nodes, size in cases:
            generators = [np.random.Generator(np.random.Philox(rank)) for rank in range(ranks)]
            values = [
                np.concatenate([g.standard_normal(n, dtype=np.float32) for n in (size, 3)])
                for g in generators
            ]
            mean = summed(name, nodes, values) * np.float32(1.0 / ranks)
            case = f"{name} {nodes} {size}"
            assert found[case].tobytes() == mean.tobytes(), case
            logs = [steps(name, nodes, ranks, rank) for rank in range(ranks)]
            assert json.loads(str(found[f"{case} logs"])) == logs, case


ON_GPUS = """
import sys, mpi4py
mpi4py.rc.initialize = False
from trainer.ranks import join
import numpy as np
from types import SimpleNamespace
from trainer.communicators import COMMUNICATORS
from trainer.gpu.gpu import this_gpu
ranks = int(sys.argv[1])
world = join(ranks)
gpu = this_gpu()
gpu.cupy.cuda.Device(world.rank).use()
own = np.random.Generator(np.random.Philox(world.rank)).standard_normal(200003, dtype=np.float32)
everyones = np.array(world.gather(own))
bound = (ranks + 1) * 2.0**-24 * np.mean(np.abs(everyones), axis=0, dtype=np.float64)
for name, make in COMMUNICATORS.items():
    communicator = make(world.mpi, 1, gpu)
    found = []
    for repeat in range(2):
        parameter = SimpleNamespace(grad=gpu.cupy.asarray(own))
        communicator.average_gradients(SimpleNamespace(namedparams=lambda: [("/a", parameter)]))
        found.append(gpu.cupy.asnumpy(parameter.grad))
    assert len({mean.tobytes() for mean in sum(world.gather(found), [])}) == 1, name
    assert (np.abs(found[0] - everyones.mean(axis=0, dtype=np.float64)) <= bound).all(), name
"""


@pytest.mark.gpu
@pytest.mark.mpi
def test_communicators_on_gpus(
    make_case: Any, launch_ranks: Any, python_for: Any, fixed_mca: Any, tmp_path: Path
) -> None:
    """The real ones, one rank per GPU of this machine."""
    ranks = len(capabilities())
    command = [*python_for(tmp_path, GPU_STACK), "-c", ON_GPUS, str(ranks)]
    done = launch_ranks(command, ranks, fixed_mca, make_case().environment())
    assert done.returncode == 0, done.stderr


REFUSED = """
import mpi4py
mpi4py.rc.initialize = False
from trainer.ranks import join
from tests.trainer import fake_cupy
from trainer.communicators import COMMUNICATORS
from trainer.trouble import TrainerError
world = join(1)
fake_cupy.NcclCommunicator.refuse = True
for name, gpu in (("pure_nccl", None), ("single_node", fake_cupy.fake_gpu())):
    try:
        COMMUNICATORS[name](world.mpi, 1, gpu)
    except TrainerError as error:
        print(error)
"""


@pytest.mark.mpi
def test_what_nccl_cannot_do_is_said(
    make_case: Any, launch_ranks: Any, python_for: Any, fixed_mca: Any, tmp_path: Path
) -> None:
    command = [*python_for(tmp_path), "-c", REFUSED]
    done = launch_ranks(command, 1, fixed_mca, make_case().environment())
    assert (done.returncode, done.stdout) == (
        0,
        "pure_nccl reduces between GPUs and this run has none\n"
        "-> submit a new run with another communicator, or on a stack with GPUs\n"
        "NCCL cannot connect the GPUs of 1 ranks: NCCL_ERROR_INVALID_USAGE: invalid usage\n"
        "-> start one rank per GPU; logs/nccl-*.log in the run directory say more\n",
    ), done.stderr


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed here")
def test_the_fake_has_the_form_of_cupy() -> None:
    """Names and numbers of arguments; needs no GPU."""
    from tests.trainer import fake_cupy
    from trainer.gpu.gpu import this_gpu

    real, fake = this_gpu(), fake_cupy.fake_gpu()
    for name in vars(fake.nccl):
        assert hasattr(real.nccl, name), name
    for name in ("zeros", "cuda.alloc_pinned_memory", "cuda.get_current_stream"):
        assert eval(f"cupy.{name}", {"cupy": real.cupy}) is not None
    for name, method in vars(fake_cupy.NcclCommunicator).items():
        if not name.startswith("_") and callable(method):
            signature = getattr(real.nccl.NcclCommunicator, name).__doc__.splitlines()[0]
            theirs = re.findall(r"(\w+)(?:,|\))", signature)
            assert theirs == list(inspect.signature(method).parameters), name
    for name in ("get", "set"):
        signature = getattr(real.cupy.ndarray, name).__doc__.splitlines()[0]
        ours = inspect.signature(getattr(fake_cupy.DeviceArray, name)).parameters
        assert all(re.search(rf"\b{argument}\b", signature) for argument in ours), name
