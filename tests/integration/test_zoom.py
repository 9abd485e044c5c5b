"""``rerun --zoom`` from outside: a fault of each kind, planted in a run's own code, is named."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import pytest

from tests.integration.conftest import Bench, clone_project
from tests.integration.test_rerun import run_directory_in

pytestmark = [pytest.mark.image, pytest.mark.long]

#: What a fault does is decided by the word in a file: one snapshot for all faults.
PLANTED = """

from pathlib import Path as _Path


def _fault(name):  # type: ignore
    mark = _Path(MARK)
    return mark.exists() and mark.read_text() == name
"""

#: trainer/loop.py: once, while rank 1 computes a step, one bit of a weight is another.
FLIP = """
_rank_step = rank_step


def rank_step(rank, batches, updater, *rest):  # type: ignore
    weight = updater.model.block2.conv.W.array.reshape(-1)[:1].view("uint32")
    flips = rank == 1 and _fault("flip")
    if flips:
        _Path(MARK).unlink()
        weight ^= 1 << 22
    done = _rank_step(rank, batches, updater, *rest)
    if flips:
        weight ^= 1 << 22
    return done
"""

#: trainer/communicators/ordered.py: the third sum of a run is made one rank after another.
ORDER = """
_adds = 0
_add = TreeReduction.add


def _in_another_order(self, model):  # type: ignore
    global _adds
    _adds += 1
    if _adds == 9 and _fault("order"):
        self._tree = TreeSum(SumOrder(4, 4))
    _add(self, model)


TreeReduction.add = _in_another_order
"""

#: trainer/layers/draws.py: masks are drawn from a generator that nothing seeds.
DRAW = """
_mask = dropout_mask


def dropout_mask(seed, layer, ratio, epochs, samples, shape):  # type: ignore
    mask = _mask(seed, layer, ratio, epochs, samples, shape)
    if _fault("draw"):
        mask = np.random.default_rng().permutation(mask.reshape(-1)).reshape(mask.shape)
    return mask
"""


class Diverged(NamedTuple):
    """A run of 3 steps, its 4 ranks on one process, and its rerun, whose third sum was made in
    another order."""

    bench: Bench
    run: Path
    rerun: Path
    mark: Path

    def zoom(self, fault: str = "") -> Tuple[Dict[str, Any], List[Path]]:
        """What zooming into the rerun says, where this machine has a fault; its runs of a step."""
        if fault:
            self.mark.write_text(fault)
        try:
            done = self.bench.bundle("rerun", self.rerun, "--zoom", "--json", code=1)
        finally:
            self.mark.unlink(missing_ok=True)
        verdict = json.loads(done.stdout)
        kept = json.loads((self.rerun / "verdict.json").read_text())
        assert kept["zoom"] == verdict["zoom"]
        return verdict["zoom"], [Path(path) for path in verdict["zoom"]["runs"]]


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory, image: str, data_template: Path) -> Diverged:
    del image
    root = tmp_path_factory.mktemp("diverged")
    shutil.copytree(data_template, root / "data")
    mark = root / "mark"
    bench = Bench(root, clone_project(root / "project"))
    for name, text in (
        ("loop.py", FLIP), ("communicators/ordered.py", ORDER), ("layers/draws.py", DRAW),
    ):  # fmt: skip
        with (bench.project / "trainer" / name).open("a") as stream:
            stream.write((PLANTED + text).replace("MARK", repr(str(mark))))
    run = bench.submit(
        bench.config(ranks_per_node=4, processes=1, batchsize=2, checkpoint_interval=1)
    )
    mark.write_text("order")
    done = bench.bundle("rerun", run, code=1)
    mark.unlink()
    assert "first difference at step 3, rank 0: gradients" in done.stdout
    return Diverged(bench, run, run_directory_in(done.stderr), mark)


HOST = socket.gethostname()


def test_another_order_of_a_sum_in_the_rerun(diverged: Diverged) -> None:
    zoom, runs = diverged.zoom()
    assert (zoom["step"], zoom["begin"], zoom["alike"]) == (3, 2, True)
    assert (zoom["first"]["phase"], zoom["first"]["ranks"]) == ("reduced", [])
    assert zoom["first"]["layer"] == "/block4/mlp2"
    assert len(runs) == 2
    alike, of_a, of_b, both = zoom["sentences"]
    assert alike.startswith(
        f"step 3 was run twice on {HOST} from the state after step 2, with the parts of a: alike "
    )
    assert alike.endswith(" digests; this machine agrees with itself")
    assert of_a == "a recorded the same losses and digests"
    assert of_b.startswith(
        "b recorded other ones: first at step 3, the mean gradient /block4/mlp2/"
    )
    assert of_b.endswith(
        " more, from the last layer to the first; all losses are alike: the same gradients added "
        "in another order: ranks in pairs, pairs in pairs, and so on here, one rank after another "
        "there"
    )
    assert both == (
        "a and this machine agree, b does not: the error was in b, or in what its machine did "
        "otherwise"
    )
    assert diverged.bench.bundle("verify", runs[0]).stdout == "verified: nothing differs\n"


def test_a_flipped_bit_in_the_memory_of_one_rank(diverged: Diverged) -> None:
    zoom, runs = diverged.zoom("flip")
    assert len(runs) == 3
    assert zoom["first"] == {
        "phase": "forward", "layer": "/block2/conv", "tensor": "output", "ranks": [1],
        "hosts": [HOST],
    }  # fmt: skip
    assert zoom["sentences"] == [
        f"step 3 was run twice on {HOST} from the state after step 2, with the parts of a: this "
        "machine does not agree with itself: the two differ first in the forward pass, output of "
        f"/block2/conv, rank 1 on {HOST}",
        f"a third run is alike to run 2, so run 1 went wrong: rank 1 on {HOST} computed that "
        "tensor wrongly once; look at the memory and the processor (or GPU) there",
    ]


def test_an_unseeded_draw(diverged: Diverged) -> None:
    zoom, runs = diverged.zoom("draw")
    assert len(runs) == 3
    assert not zoom["alike"]
    first = zoom["first"]
    assert (first["phase"], first["layer"], first["tensor"]) == ("forward", "/block4", "input")
    assert first["ranks"] == [0, 1, 2, 3]
    assert zoom["sentences"][1] == (
        "a third run is unlike both: what is computed there is no function of the state, the batch "
        f"and the seed: on ranks 0, 1, 2, 3 on {HOST} the code draws without a seed or reads "
        "memory, a clock or a file that changes, or the machine errs every time"
    )


def test_a_changed_image(diverged: Diverged) -> None:
    """The last of these tests: the images stay changed."""
    bench = diverged.bench
    rows = (diverged.run / "inputs" / "train.tsv").read_text().splitlines()
    path, other = (row.split("\t")[2] for row in (rows[5], rows[7]))
    picture = bench.data / "train" / path
    shutil.copyfile(bench.data / "train" / other, picture)
    done = bench.bundle("rerun", diverged.run, "--with", "data", "--zoom", "--json", code=1)
    zoom = json.loads(done.stdout)["zoom"]
    cannot, alike, of_a, of_b, batch = zoom["sentences"]
    step = zoom["step"]
    assert cannot.startswith(
        f"step {step} with the parts of a cannot be run here: inputs/train.tsv, line 6: {picture} "
        "was altered: sha256 "
    )
    assert alike.startswith(f"step {step} was run twice on {HOST} from ")
    assert of_b == "b recorded the same losses and digests"
    assert batch.partition(": ")[2] == (
        f"images of its batch that are not those of a: sample 5 ({path})"
    )
    first = zoom["first"]
    assert (first["phase"], first["tensor"], first["hosts"]) == ("batch", "images", [HOST])
    assert batch.startswith(f"rank {first['ranks'][0]}: ")
    assert of_a.startswith(f"a recorded other ones: first at step {step}, the loss of rank ")
