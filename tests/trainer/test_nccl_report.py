"""What NCCL reports of itself and is told by the site, as the result has it; without a GPU."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, List

import pytest

from manifests.record.run_files import RunFiles
from trainer import session
from trainer.communicators import COMMUNICATORS
from trainer.communicators.nccl_report import (
    OURS,
    ask_for_report,
    merged_reports,
    parse_report,
    read_report,
    site_variables,
)
from trainer.device import Device
from trainer.gpu.gpu import Gpu

#: Put together from the format strings in the library of NCCL 2.19.3; not seen on a machine.
REPORT = """\
n1:4242:4242 [0] NCCL INFO Bootstrap : Using eth0:10.0.0.1<0>
n1:4242:4242 [0] NCCL INFO cudaDriverVersion 12020
NCCL version 2.19.3+cuda12.3
n1:4242:4300 [0] NCCL INFO comm 0x5581 rank 0 nranks 4 cudaDev 0 nvmlDev 0 busId 3b000 commId 0x1 - Init START
n1:4242:4300 [0] NCCL INFO NCCL_NVLS_ENABLE set by environment to 0.
n1:4242:4300 [0] NCCL INFO Channel 00/02 :    0   1   3   2
n1:4242:4300 [0] NCCL INFO Channel 01/02 :    0   2   3   1
n1:4242:4300 [0] NCCL INFO Trees [0] 1/-1/-1->0->-1 [1] 2/-1/-1->0->-1
n1:4242:4300 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/IPC
n1:4242:4300 [0] NCCL INFO NCCL_PROTO set by environment to Simple
n1:4242:4300 [0] NCCL INFO NCCL_ALGO set by environment to Ring
n1:4242:4300 [0] NCCL INFO 2 coll channels, 0 nvls channels, 2 p2p channels, 2 p2p channels per peer
n1:4242:4300 [0] NCCL INFO comm 0x5581 rank 0 nranks 4 cudaDev 0 nvmlDev 0 busId 3b000 commId 0x1 - Init COMPLETE
"""  # noqa: E501


def test_what_nccl_reports() -> None:
    assert parse_report(REPORT) == {
        "version": "2.19.3+cuda12.3",
        "algorithm": "Ring",
        "protocol": "Simple",
        "rings": "0 1 3 2; 0 2 3 1",
    }


def test_a_text_that_says_nothing_is_no_failure() -> None:
    assert parse_report("") == parse_report("n1:1:1 [0] NCCL WARN something else\n") == {}


def test_of_several_communicators_the_last_counts() -> None:
    later = REPORT.replace("0   1   3   2", "0   3   1   2").replace(
        "0   2   3   1", "0   1   2   3"
    )
    assert parse_report(REPORT + later)["rings"] == "0 3 1 2; 0 1 2 3"


def report_of(ranks: List[int], size: int) -> str:
    """As NCCL writes it: no more than 20 ranks of a ring."""
    first = f"n1:1:2 [0] NCCL INFO comm 0x1 rank 0 nranks {size} cudaDev 0 commId 0x1 - Init START"
    shown = "".join(f" {rank:3d}" for rank in ranks[:20])
    return f"{first}\nn1:1:2 [0] NCCL INFO Channel 00/01 :{shown}\n"


def test_a_ring_that_nccl_cuts_off_is_not_reported() -> None:
    ring = list(range(20))
    assert parse_report(report_of(ring, 20)) == {"rings": " ".join(map(str, ring))}
    one, other = [*ring, 20, 21], [*ring, 21, 20]
    assert parse_report(report_of(one, 22)) == parse_report(report_of(other, 22)) == {}
    # Where nothing says how many ranks there are, the ring may be a part.
    assert parse_report(report_of(ring, 20).split("\n", 1)[1]) == {}
    # The earlier communicator's rings are none of the last one's.
    assert parse_report(report_of(ring, 20) + report_of(one, 22)) == {}


def test_reports_of_all_ranks_become_one() -> None:
    other = {"protocol": "Simple", "algorithm": "Ring"}
    second = {**other, "rings": "0 1"}
    assert merged_reports([{**second, "version": "2.19.3"}, other, second, {}]) == {
        "version": "2.19.3",
        "protocol": "Simple",
        "algorithm": "Ring",
        "rings.0": "0 1",
        "rings.2": "0 1",
    }


def test_a_rank_that_differs_is_named() -> None:
    one, other = {"NCCL_IB_HCA": "mlx5_0"}, {"NCCL_IB_HCA": "mlx5_1"}
    assert merged_reports([{}, one, one, other]) == {
        "NCCL_IB_HCA": "mlx5_0",
        "NCCL_IB_HCA.3": "mlx5_1",
    }


def test_variables_of_the_site_are_recorded() -> None:
    environment = {
        "NCCL_ALGO": "Ring",
        "NCCL_SOCKET_IFNAME": "ib0",
        "NCCL_MAX_NCHANNELS": "2",
        "NCCL_DEBUG": "WARN",
        "PATH": "/bin",
    }
    assert site_variables(environment, {"NCCL_ALGO": "Ring"}) == {
        "NCCL_SOCKET_IFNAME": "ib0",
        "NCCL_MAX_NCHANNELS": "2",
    }


def test_the_result_has_what_nccl_was_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("NCCL_")]:
        monkeypatch.delenv(name)
    for name in OURS:
        monkeypatch.setenv(name, "of this test")
    monkeypatch.setenv("NCCL_IB_HCA", "mlx5_0")
    monkeypatch.setenv("NCCL_ALGO", "Ring")

    def make(*_: Any) -> Any:
        (tmp_path / "run" / "logs" / "nccl-00000.log").write_text(REPORT)
        return SimpleNamespace(local_rank=7)

    monkeypatch.setitem(COMMUNICATORS, "pure_nccl", make)
    world: Any = SimpleNamespace(
        rank=0, size=1, processes=1, nodes=None, mpi=None, gather=lambda own: [own]
    )
    identity = SimpleNamespace(
        training=SimpleNamespace(communicator="pure_nccl"),
        world=SimpleNamespace(nodes=1),
        determinism=SimpleNamespace(environment={"NCCL_ALGO": "Ring"}),
    )
    (tmp_path / "run").mkdir()
    manifest: Any = SimpleNamespace(identity=identity)
    device = Device(gpu=Gpu(None, None))
    files = RunFiles(tmp_path / "run")
    communicator, told = session.make_communicator(world, device, files, manifest)
    assert communicator.local_rank == 7
    assert told == {
        "version": "2.19.3+cuda12.3",
        "algorithm": "Ring",
        "protocol": "Simple",
        "rings.0": "0 1 3 2; 0 2 3 1",
        "NCCL_IB_HCA": "mlx5_0",
    }


def test_where_the_report_goes(tmp_path: Path) -> None:
    environment = {"NCCL_ALGO": "Ring"}
    path = ask_for_report(environment, tmp_path, 3)
    assert path == tmp_path / "nccl-00003.log"
    assert environment == {
        "NCCL_ALGO": "Ring",
        "NCCL_DEBUG": "INFO",
        "NCCL_DEBUG_SUBSYS": "INIT,ENV,NET",
        "NCCL_DEBUG_FILE": str(path),
    }
    assert read_report(path) == ""
    path.write_text(REPORT)
    assert read_report(path) == REPORT
