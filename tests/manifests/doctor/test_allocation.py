"""What ranks saw of broken allocations -> findings."""

from __future__ import annotations

from typing import Any, Dict, Optional

import pytest

from manifests.doctor.allocation import Allocation, Rank, allocation_findings
from manifests.host.finding import Finding, fail, ok, warn
from manifests.record.outcome import RankGpu
from manifests.record.schema import GpuClass, GpuPromise, Promises, World

SHA = "5" * 64
V100 = GpuClass(model="Tesla V100", capability="7.0", multiprocessors=80)
T4 = GpuClass(model="T4", capability="7.5", multiprocessors=40)
TEXT = "Tesla V100 (compute capability 7.0, 80 multiprocessors)"
PROMISE = GpuPromise(driver="525.60.13", capabilities=["6.0", "7.0"])


def gpu(device: int, kind: GpuClass = V100, bus: str = "", uuid: str = "") -> RankGpu:
    place = bus or f"0000:{device}a:00.0"
    return RankGpu(rank=0, host="", device=device, bus=place, kind=kind, memory=2**34, uuid=uuid)


TWO = [gpu(0), gpu(1)]
SMALL = V100.model_copy(update={"multiprocessors": 60})
ASK = "every rank must see a GPU for each rank of its node: ask for as many, bound to none"
FOUR = [gpu(device) for device in range(4)]


def rank(number: int, host: str = "n1", local: int = 0, **changes: Any) -> Rank:
    values: Dict[str, Any] = {
        "rank": number, "local_rank": local, "host": host, "cores": [0, 1, 2, 3],
        "features": ["avx2", "fma"], "gpus": TWO, "driver": "535.54.03", "scratch": "/tmp",
        "scratch_problem": "", "image_sha256": SHA if local == 0 else None,
        "transport": "pml ob1, btl self tcp vader", "wrong_messages": [],
        **changes,
    }  # fmt: skip
    return Rank(**values)


def judged(
    *ranks: Rank, nodes: int = 2, promise: Optional[GpuPromise] = PROMISE
) -> Dict[str, Finding]:
    return allocation_findings(
        Allocation(ranks=list(ranks)),
        World(ranks=4, nodes=nodes),
        image_sha256=SHA,
        promises=Promises(cpu_features=["avx2", "fma"], gpu=promise),
        stack="cuda12",
    )


GOOD = (rank(0), rank(1, local=1), rank(2, "n2"), rank(3, "n2", 1))


def test_an_allocation_that_is_well() -> None:
    assert judged(*GOOD) == {
        "job: ranks": ok("4 ranks, one process each, on 2 nodes (n1, n2)"),
        "job: messages": ok(
            "4 ranks exchanged all kinds of messages over pml ob1, btl self tcp vader"
        ),
        "job: image": ok(f"sha256 {SHA} on every node"),
        "job: processor": ok("every node has avx2, fma"),
        "job: cores": ok("n1: each of 2 may use 4 of 4; n2: each of 2 may use 4 of 4"),
        "job: TMPDIR": ok("/tmp can be written"),
        "job: GPUs": ok(
            f"{TEXT}; n1: 2 ranks, 2 visible, driver 535.54.03; "
            "n2: 2 ranks, 2 visible, driver 535.54.03"
        ),
    }
    assert judged(*GOOD, promise=None)["job: GPUs"] == ok("stack cuda12 needs none")


def test_processes_that_are_all_rank_0_of_1() -> None:
    found = judged(rank(0))
    assert found["job: ranks"] == fail(
        "each of 4 processes is rank 0 of 1: it did not find the launcher",
        "use a host MPI of the image's family and version (see the check of mpirun), and see "
        "that nothing strips its variables from the container's environment",
    )
    assert found["job: messages"] == warn(
        "not tried: it needs at least two ranks", "see `job: ranks`"
    )


@pytest.mark.parametrize(
    ("check", "changed", "finding"),
    [
        (
            "job: ranks",
            tuple(rank(number, "n1", number, gpus=FOUR) for number in range(4)),
            fail(
                "4 ranks, one process each, on 1 node (n1), asked for were 4 on 2",
                "see how the site profile maps ranks to nodes (docs/sites.md)",
            ),
        ),
        (
            "job: messages",
            (*GOOD[:3], rank(3, "n2", 1, wrong_messages=["MPI_Mrecv", "MPI_Allreduce"])),
            fail(
                "wrong values over pml ob1, btl self tcp vader: rank 3: MPI_Mrecv, "
                "rank 3: MPI_Allreduce",
                "this network or MPI cannot be trusted: let the site profile name another "
                "transport, and show this to your administrator",
            ),
        ),
        (
            "job: TMPDIR",
            (
                *GOOD[:3],
                rank(3, "n2", 1, scratch_warning="TMPDIR=/x is not a folder: /tmp is used"),
            ),
            warn(
                "n2: TMPDIR=/x is not a folder: /tmp is used",
                "name a folder that its nodes have in the site profile: scratch",
            ),
        ),
        (
            "job: image",
            (rank(0, image_sha256="6" * 64), GOOD[1], rank(2, "n2", image_sha256=None), GOOD[3]),
            fail(
                f"sha256 expected {SHA}, found on n1: {'6' * 64}; n2: cannot be read",
                "the cache must lie where all nodes see the same files: set BUNDLE_CACHE",
            ),
        ),
        (
            "job: processor",
            (*GOOD[:2], rank(2, "n2", features=["avx2"]), GOOD[3]),
            fail(
                "n2 lacks fma: the bits would not be those of other machines",
                "ask for nodes of the x86-64-v3 kind (Intel Haswell, AMD Zen, or newer)",
            ),
        ),
        (
            "job: cores",
            (*GOOD[:2], rank(2, "n2", cores=[7]), rank(3, "n2", 1, cores=[7])),
            warn(
                "n2: 2 ranks share 1",
                "ask for more cores, or let mpirun bind no ranks (--bind-to none)",
            ),
        ),
        (
            "job: TMPDIR",
            (*GOOD[:3], rank(3, "n2", 1, scratch_problem="No such file or directory")),
            fail(
                "cannot be written in the container: n2: No such file or directory",
                "name a folder that its nodes have in the site profile: scratch",
            ),
        ),
        (
            "job: GPUs",
            (*GOOD[:2], rank(2, "n2"), rank(3, "n2", 1, gpus=[])),
            fail("n2: 2 ranks and 0 GPUs", ASK),
        ),
        (
            "job: GPUs",
            (*GOOD[:2], *(rank(2 + k, "n2", k, gpus=[gpu(0, bus="0000:1a:00.0")]) for k in (0, 1))),
            fail("n2: 2 ranks and 1 GPUs between them", ASK),
        ),
        (
            "job: GPUs",
            (*GOOD[:2], rank(2, "n2", driver="470.82.01"), rank(3, "n2", 1)),
            fail(
                "n2 has NVIDIA driver 470.82.01, and stack cuda12 needs 525.60.13 or newer",
                "ask your administrator for a newer driver, or for other nodes",
            ),
        ),
        (
            "job: GPUs",
            (*GOOD[:3], rank(3, "n2", 1, gpus=[gpu(0), gpu(1, T4)])),
            fail(
                "the image has no code for T4 (compute capability 7.5, 40 multiprocessors)",
                "ask for GPUs of compute capability 6.0, 7.0",
            ),
        ),
        (
            "job: GPUs",
            (*GOOD[:3], rank(3, "n2", 1, gpus=[gpu(0), gpu(1, SMALL)])),
            warn(
                f"the ranks have GPUs of 2 classes: {TEXT} and "
                "Tesla V100 (compute capability 7.0, 60 multiprocessors)",
                "ask for nodes of one kind: on mixed ones a rerun must find the same mixture",
            ),
        ),
        # A scheduler that shows each rank a GPU of its own.
        (
            "job: GPUs",
            (
                *GOOD[:2],
                *(rank(2 + k, "n2", k, gpus=[gpu(0, bus=f"0000:{k}b:00.0")]) for k in (0, 1)),
            ),
            ok(
                f"{TEXT}; n1: 2 ranks, 2 visible, driver 535.54.03; "
                "n2: 2 ranks, 1 visible, driver 535.54.03"
            ),
        ),
        # Parts of one card.
        (
            "job: GPUs",
            (
                *GOOD[:2],
                *(rank(2 + k, "n2", k, gpus=[gpu(0, uuid=f"0{k}")]) for k in (0, 1)),
            ),
            ok(
                f"{TEXT}; n1: 2 ranks, 2 visible, driver 535.54.03; "
                "n2: 2 ranks, 1 visible, driver 535.54.03"
            ),
        ),
    ],
)
def test_one_fault_is_one_finding(check: str, changed: Any, finding: Finding) -> None:
    found = judged(*changed)
    assert found[check] == finding
    assert [name for name in found if found[name].state == "fail"] == [check] * (
        finding.state == "fail"
    )
