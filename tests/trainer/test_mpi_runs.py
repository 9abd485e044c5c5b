"""Whole runs under mpirun."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.record.canonical_json import digest_of
from manifests.record.keys import INPUT_SIDE, Communicator, Iterator, LoadType, values_of
from manifests.record.outcome import Failure, Result, TrailRecord
from manifests.record.packed_file import RECORD
from tests.progress_lines import without_progress
from tests.waiting import PATIENCE, wait_until
from trainer.loadtypes.custom import PACK_AGAIN

pytestmark = pytest.mark.mpi


def outcome(case: Any) -> tuple[Any, ...]:
    """Everything that must be equal between two runs of one identity."""
    files = case.files
    return (
        Result.model_validate_json(files.result.read_bytes()).digests,
        files.trail_of(0).read_bytes(),
        files.trail_of(1).read_bytes(),
        files.model.read_bytes(),
    )


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def run(make_case: Any, name: str, **changes: Any) -> Any:
    case = make_case(name, **changes)
    done = case.launch()
    assert (done.returncode, without_progress(done.stderr)) == (0, "")
    return case


@pytest.mark.long
@pytest.mark.slow
def test_two_runs_are_identical_and_loading_does_not_matter(make_case: Any) -> None:
    first = run(make_case, "first")
    expected = outcome(first)
    check_records(first)
    again = run(make_case, "again")
    assert outcome(again) == expected
    for loadtype in values_of(LoadType):
        for iterator in values_of(Iterator):
            loading = {"loadtype": loadtype, "iterator": iterator, "loaderjob": 3}
            assert outcome(run(make_case, f"{loadtype} {iterator}", loading=loading)) == expected
    other = run(make_case, "other", seed=8)
    assert outcome(other)[0].parameters != expected[0].parameters


def check_records(case: Any) -> None:
    files = case.files
    result = Result.model_validate_json(files.result.read_bytes())
    assert result.identity_digest == case.manifest["identity_digest"]
    assert result.steps == 5
    digests = result.digests
    assert digests.parameters == digest_of(digests.tensors)
    assert digests.model == hashlib.sha256(files.model.read_bytes()).hexdigest()
    trails = files.trail_of(0).read_bytes() + files.trail_of(1).read_bytes()
    assert digests.trail == hashlib.sha256(trails).hexdigest()
    records = [TrailRecord.model_validate_json(x) for x in lines_of(files.trail_of(0))]
    assert [r.step for r in records] == [0, 1, 2, 3, 4, 5]
    assert [r.step for r in records if r.parameters] == [0, 2, 4, 5]
    assert records[-1].parameters == digests.tensors
    rows = [json.loads(line) for line in lines_of(files.log)]
    assert [(row["epoch"], row["iteration"]) for row in rows] == [(1, 3), (2, 5)]
    assert result.metrics == rows[-1]
    for kind in ("main/accuracy", "validation/main/accuracy"):
        assert all(0 <= row[kind] <= row[f"{kind}_top5"] <= 1 for row in rows)
    assert result.log == hashlib.sha256(files.log.read_bytes()).hexdigest()
    observed = result.observed
    knobs = case.manifest["identity"]["determinism"]["environment"]
    assert observed.environment == knobs
    assert observed.versions["numpy"] == "1.23.5"
    assert " Haswell " in observed.versions["openblas"]
    assert observed.versions["mpi"].startswith("Open MPI v")
    assert {"avx2", "fma"} <= set(observed.cpu_features)
    assert [(place.rank, place.local_rank) for place in observed.ranks] == [(0, 0), (1, 1)]
    assert not files.failure.exists()


@pytest.mark.slow
def test_a_test_run_evaluates_after_each_step(make_case: Any) -> None:
    case = run(make_case, "case", epochs=1, observing={"test": True})
    rows = [json.loads(line) for line in lines_of(case.files.log)]
    assert [row["iteration"] for row in rows] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    [
        pytest.param(arch, marks=[pytest.mark.long] if arch != "googlenetbn" else [])
        for arch in sorted(INPUT_SIDE.keys() - {"nin"})
    ],
)
def test_every_network_repeats_however_often_it_evaluates(make_case: Any, arch: str) -> None:
    changes = {"arch": arch, "insize": INPUT_SIDE[arch][1], "epochs": 1}
    often = {"test": True, "trail_interval": 2}
    expected = outcome(run(make_case, "first", **changes))
    assert outcome(run(make_case, "often", observing=often, **changes)) == expected


def fail(case: Any, ranks: int = 2, **environment: str) -> tuple[str, Failure]:
    """Start a run that must fail soon; return its standard error and its record."""
    begun = time.monotonic()
    done = case.launch(ranks, **environment)
    assert time.monotonic() - begun < PATIENCE
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not case.files.result.exists()
    assert not case.files.model.exists()
    record = Failure.model_validate_json(case.files.failure.read_bytes())
    return without_progress(done.stderr), record


def said(record: Failure) -> str:
    where = f"rank {record.rank}" + (f", step {record.step}" if record.step else "")
    return f"{where}: {record.message}\n-> {record.next_step}\n"


def test_truncated_image_ends_all_ranks(make_case: Any) -> None:
    case = make_case(loading={"iterator": "process", "loaderjob": 2})
    path: Path = case.train_root / case.train[1]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    lines = case.files.train_table.read_text().replace(
        hashlib.sha256(data).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()
    )
    case.files.train_table.write_text(lines)
    case.seal()
    text, record = fail(case)
    assert record.message.startswith(
        "image 'a b/\"c\".jpg' (line 2 of inputs/train.tsv): is truncated ("
    )
    assert record.step is not None
    assert text.startswith(said(record))
    assert "resource_tracker" not in text


@pytest.mark.parametrize("iterator", ["serial", "thread", "process"])
def test_altered_pixels_end_all_ranks(make_case: Any, iterator: str) -> None:
    loading = {"loadtype": "custom", "iterator": iterator, "loaderjob": 2}
    case = make_case(epochs=50, loading=loading)
    size = case.train_pack.stat().st_size
    with case.train_pack.open("r+b") as stream:
        stream.seek(size - 8 * RECORD)
        stream.write(b"altered")
    text, record = fail(case)
    assert (record.message, record.next_step) == (
        'image "dé\'f.jpg" (line 3 of inputs/train.tsv): its packed file '
        f"{case.train_pack} was altered: its pixels do not fit their sha256",
        PACK_AGAIN,
    )
    assert record.step is not None
    assert text.count(said(record)) == 1


def test_a_packed_file_that_is_cut_off_is_said_once(make_case: Any) -> None:
    case = make_case(loading={"loadtype": "custom", "iterator": "process", "loaderjob": 2})
    size = case.val_pack.stat().st_size
    os.truncate(case.val_pack, size - 1)
    text, record = fail(case)
    assert (record.message, record.next_step) == (
        f"the packed file {case.val_pack} is cut off: it has {size - 1} bytes, expected {size}",
        PACK_AGAIN,
    )
    assert text.count(said(record)) == 1


def loaders_below(pid: int) -> list[int]:
    """Loader processes among the descendants of a process: children of its fork servers."""
    parents, servers = {}, set()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if b"multiprocessing.forkserver" in (path / "cmdline").read_bytes():
                servers.add(int(path.name))

    def descends(child: int) -> bool:
        return child == pid or (child in parents and descends(parents[child]))

    return [child for child in servers if parents[child] in servers and descends(child)]


@pytest.mark.parametrize("loadtype", ["original", "custom"])
def test_a_loader_killed_at_work_ends_all_ranks(make_case: Any, loadtype: str) -> None:
    loading = {"loadtype": loadtype, "iterator": "process", "loaderjob": 2}
    case = make_case(epochs=2000, loading=loading)
    killed = []

    def kill_one() -> None:
        trail = case.files.trail_of(1)
        wait_until(lambda: trail.exists() and len(lines_of(trail)) > 3)
        killed.append(loaders_below(os.getpid())[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    text, record = fail(case)
    killer.join()
    assert len(killed) == 1
    # Of a loader that had nothing to do when it was killed, no image is named.
    assert re.fullmatch(
        "a loader process died( before it delivered image ['\"].*)?", record.message
    )
    assert text.count(said(record)) == 1


def test_missing_knob_is_said_once(make_case: Any) -> None:
    text, record = fail(make_case(), OPENBLAS_CORETYPE="Zen")
    assert record.message == (
        "settings that decide bits are not set: OPENBLAS_CORETYPE is 'Zen', expected 'Haswell'"
    )
    assert text.count(said(record)) == 1


def test_another_number_of_ranks(make_case: Any) -> None:
    text, record = fail(make_case(), ranks=1)
    assert record.message == (
        "MPI gives 1 rank, the run was made for 2: this process did not find the launcher"
    )
    assert text.count(said(record)) == 1


def test_divergence_is_said(make_case: Any) -> None:
    case = make_case(optimizer={"name": "momentum_sgd", "lr": 1e30})
    _, record = fail(case)
    assert record.message.startswith("the loss is ")
    assert record.message.endswith(": training diverged")
    assert record.next_step == "submit a new run with a smaller lr or a longer warm-up"


def test_read_only_results_are_an_error_of_the_user(make_case: Any) -> None:
    case = make_case()
    # A file in the way: root may write into folders without permission.
    case.files.results.write_text("")
    _, record = fail(case)
    assert record.message == f"{case.files.results} cannot be written: File exists"


def test_disk_full_while_the_model_is_saved(
    make_case: Any, launch_ranks: Any, python_for: Any
) -> None:
    """A limit on the size of files stands for the full disk; the model has 26 MB."""
    case = make_case(epochs=1)
    inner = shlex.join([*python_for(case.root), "-m", "trainer", *case.arguments()])
    mca = case.manifest["identity"]["determinism"]["mca"]
    command = ["bash", "-c", f"ulimit -f 20000; exec {inner}"]
    done = launch_ranks(command, 2, mca, case.environment())
    record = Failure.model_validate_json(case.files.failure.read_bytes())
    assert (done.returncode, record.message, record.next_step) == (
        2,
        f"{case.files.model} cannot be written: File too large",
        f"make room or give permission below {case.files.results}, then start the run again",
    )
    assert said(record) in done.stderr
    assert sorted(path.name for path in case.files.results.iterdir()) == ["log.jsonl", "trail"]
    assert not case.files.result.exists()


REDUCE = """
import hashlib, json, sys, mpi4py
mpi4py.rc.initialize = False
from trainer.ranks import join
import numpy as np, chainer
from trainer.communicators import COMMUNICATORS
ranks, cases, out = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
world = join(ranks)
class Two(chainer.Chain):
    def __init__(self, size):
        super().__init__()
        with self.init_scope():
            self.b = chainer.Parameter(np.float32(0), (3,))
            self.a = chainer.Parameter(np.float32(0), (size, 1))
found = {}
for name, nodes, size in cases:
    block = ranks // nodes
    place = {"node_of": lambda rank: rank // block} if nodes > 1 else {}
    communicator = COMMUNICATORS[name](world.mpi, nodes, **place)
    assert communicator.local_rank == world.rank % block
    model = Two(size)
    for repeat in range(2):
        rng = np.random.Generator(np.random.Philox(world.rank))
        for _, p in sorted(model.namedparams()):
            p.grad = rng.standard_normal(p.shape, dtype=np.float32)
        communicator.average_gradients(model)
        sums = np.concatenate([model.a.grad.ravel(), model.b.grad])
        digests = world.gather(hashlib.sha256(sums.tobytes()).hexdigest())
        assert digests == [found.setdefault(f"{name} {nodes} {size} digest", digests[0])] * ranks
    found[f"{name} {nodes} {size}"] = sums
if world.rank == 0:
    np.savez(out, **found)
"""


def doubling(values: list[Any]) -> Any:
    """Recursive doubling: ranks beyond the largest power of two join their left neighbour first
    (Thakur, Rabenseifner, Gropp 2005, section 4.4), then pairs, pairs of pairs, …"""
    power = 1 << (len(values).bit_length() - 1)
    extra = len(values) - power
    joined = [values[2 * k] + values[2 * k + 1] for k in range(extra)] + values[2 * extra :]
    while len(joined) > 1:
        joined = [joined[k] + joined[k + 1] for k in range(0, len(joined), 2)]
    return joined[0]


def summed(name: str, nodes: int, values: list[Any]) -> Any:
    """The order of summation that docs/determinism.md promises."""
    if name in ("naive", "flat", "ordered"):
        return doubling(values)
    block = len(values) // nodes
    inside = []
    for first in range(0, len(values), block):
        total = values[first].copy()
        for value in values[first + 1 : first + block]:
            total += value
        inside.append(total)
    return doubling(inside)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6])
def test_order_of_summation(
    make_case: Any,
    launch_ranks: Any,
    python_for: Any,
    fixed_mca: Any,
    tmp_path: Path,
    ranks: int,
) -> None:
    """Every communicator on every number of equal nodes, some of them with fewer gradients than
    ranks; the same bits twice, on all ranks, and those of the promised order."""
    cases = [
        (name, nodes, size)
        for name in sorted({*values_of(Communicator)} - {"pure_nccl"})
        for nodes in (1, 2, 3)
        for size in (0, 200003)
        if ranks % nodes == 0 and (nodes == 1 or name in ("hierarchical", "two_dimensional"))
    ]
    out = tmp_path / "sums.npz"
    command = [*python_for(tmp_path), "-c", REDUCE, str(ranks), json.dumps(cases), str(out)]
    done = launch_ranks(command, ranks, fixed_mca, make_case().environment())
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        for name, nodes, size in cases:
            generators = [np.random.Generator(np.random.Philox(rank)) for rank in range(ranks)]
            values = [g.standard_normal((size + 3,), dtype=np.float32) for g in generators]
            mean = summed(name, nodes, values) * np.float32(1.0 / ranks)
            case = f"{name} {nodes} {size}"
            assert found[case].tobytes() == mean.tobytes(), case
            exact = np.mean(values, axis=0, dtype=np.float64)
            bound = (ranks + 1) * 2.0**-24 * np.mean(np.abs(values), axis=0, dtype=np.float64)
            assert (np.abs(found[case] - exact) <= bound).all(), case


MISPLACED = """
import sys, mpi4py
mpi4py.rc.initialize = False
from trainer.ranks import join
from trainer.communicators import COMMUNICATORS
from trainer.trouble import TrainerError
world = join(3)
try:
    COMMUNICATORS[sys.argv[1]](world.mpi, 2, node_of=lambda rank: rank // 2)
except TrainerError as error:
    said = world.gather(str(error))
    if world.rank == 0 and len(set(said)) == 1:
        print(said[0])
"""


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "two_dimensional",
            "two_dimensional needs as many ranks on each node, in blocks; "
            "found rank(s) 0, 1 on node 1; 2 on node 2",
        ),
        ("single_node", "single_node: the ranks lie on 2 nodes, the run was made for 1 node"),
    ],
)
def test_misplaced_ranks_are_told_on_every_rank(
    make_case: Any,
    launch_ranks: Any,
    python_for: Any,
    fixed_mca: Any,
    tmp_path: Path,
    name: str,
    problem: str,
) -> None:
    command = [*python_for(tmp_path), "-c", MISPLACED, name]
    done = launch_ranks(command, 3, fixed_mca, make_case().environment())
    next_step = "start the job script as it is, on nodes of one kind"
    assert (done.returncode, done.stdout) == (0, f"{problem}\n-> {next_step}\n"), done.stderr


def test_fewer_nodes_than_the_run_was_made_for(make_case: Any) -> None:
    case = make_case(communicator="hierarchical")
    case.manifest["identity"]["world"]["nodes"] = 2
    case.seal()
    text, record = fail(case)
    assert record.message == ("hierarchical: the ranks lie on 1 node, the run was made for 2 nodes")
    assert text.count(said(record)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("communicator", "optimizer"),
    [
        ("hierarchical", "adam"),
        pytest.param("two_dimensional", "rmsprop", marks=pytest.mark.long),
        ("single_node", "rmsprop_warmup"),
    ],
)
def test_two_runs_are_identical(make_case: Any, communicator: str, optimizer: str) -> None:
    settings = {
        "communicator": communicator, "optimizer": {"name": optimizer, "lr": 0.001}, "epochs": 1,
    }  # fmt: skip
    assert outcome(run(make_case, "again", **settings)) == outcome(
        run(make_case, "first", **settings)
    )
