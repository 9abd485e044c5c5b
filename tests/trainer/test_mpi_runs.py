"""Whole runs under mpirun."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.schema import INPUT_SIDE, Failure, Result, TrailRecord, digest_of

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
    # A busy machine takes long enough for a line of progress.
    noise = [line for line in done.stderr.splitlines() if not line.startswith("step ")]
    assert (done.returncode, noise) == (0, [])
    return case


@pytest.mark.slow
def test_two_runs_are_identical_and_loading_does_not_matter(make_case: Any) -> None:
    first = run(make_case, "first")
    expected = outcome(first)
    check_records(first)
    again = run(make_case, "again")
    assert outcome(again) == expected
    threads = run(make_case, "threads", loading={"iterator": "thread", "loaderjob": 3})
    assert outcome(threads) == expected
    processes = run(make_case, "processes", loading={"iterator": "process", "loaderjob": 2})
    assert outcome(processes) == expected
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
@pytest.mark.parametrize("arch", sorted(INPUT_SIDE.keys() - {"nin"}))
def test_every_network_repeats_however_often_it_evaluates(make_case: Any, arch: str) -> None:
    changes = {"arch": arch, "insize": INPUT_SIDE[arch][1], "epochs": 1}
    often = {"test": True, "trail_interval": 2}
    expected = outcome(run(make_case, "first", **changes))
    assert outcome(run(make_case, "often", observing=often, **changes)) == expected


def fail(case: Any, ranks: int = 2, **environment: str) -> tuple[str, Failure]:
    """Start a run that must fail soon; return its standard error and its record."""
    begun = time.monotonic()
    done = case.launch(ranks, **environment)
    assert time.monotonic() - begun < 60
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not case.files.result.exists()
    assert not case.files.model.exists()
    record = Failure.model_validate_json(case.files.failure.read_bytes())
    return done.stderr, record


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
import sys, mpi4py
mpi4py.rc.initialize = False
from trainer.world import join
import numpy as np, chainer
from trainer.communicators import COMMUNICATORS
world = join(int(sys.argv[1]))
class Two(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.a = chainer.Parameter(np.float32(0), (200003,))
            self.b = chainer.Parameter(np.float32(0), (3,))
model = Two()
rng = np.random.Generator(np.random.Philox(world.rank))
for _, p in sorted(model.namedparams()):
    p.grad = rng.standard_normal(p.shape, dtype=np.float32)
COMMUNICATORS["naive"](world.mpi).average_gradients(model)
if world.rank == 0:
    np.savez(sys.argv[2], a=model.a.grad, b=model.b.grad)
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


@pytest.mark.parametrize("ranks", [3, 4, 5])
def test_order_of_summation_is_recursive_doubling(
    make_case: Any,
    launch_ranks: Any,
    python_for: Any,
    fixed_mca: Any,
    tmp_path: Path,
    ranks: int,
) -> None:
    out = tmp_path / "sums.npz"
    command = [*python_for(tmp_path), "-c", REDUCE, str(ranks), str(out)]
    done = launch_ranks(command, ranks, fixed_mca, make_case().environment())
    assert done.returncode == 0, done.stderr
    generators = [np.random.Generator(np.random.Philox(rank)) for rank in range(ranks)]
    scale = np.float32(1.0 / ranks)
    with np.load(out) as found:
        for name, size in (("a", 200003), ("b", 3)):
            values = [g.standard_normal((size,), dtype=np.float32) for g in generators]
            assert found[name].tobytes() == (doubling(values) * scale).tobytes()
