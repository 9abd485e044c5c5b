"""What a node may lack, and what is said of it before MPI or a loader starts."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manifests.record.run_files import RunFiles
from manifests.record.schema import Loading
from trainer import failure
from trainer.node_check import Needs, Node, check_node, needs_of, this_node, uses_shared_memory
from trainer.node_fault import node_fault
from trainer.trouble import TrainerError

NEEDS = Needs(ranks=2, all_ranks=4, segment=True, loaders=3)
GB = 10**9


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "shm").mkdir()
    return Node(
        name="n1",
        shared_memory=tmp_path / "shm",
        free_shared_memory=lambda: GB,
        temporary=lambda: "/tmp",
        descriptors=lambda wanted: (wanted, 4096),
        memory=GB,
    )


def refusal(needs: Needs, node: Node) -> tuple[str, str]:
    with pytest.raises(TrainerError) as caught:
        check_node(needs, node)
    return caught.value.message, caught.value.next_step


def test_a_good_node(node: Node) -> None:
    check_node(NEEDS, node)
    assert list(node.shared_memory.iterdir()) == []
    check_node(Needs(1, 1, False, 0), this_node())


@pytest.mark.parametrize(
    ("btl", "uses"),
    [
        ("", True), ("self,vader", True), ("self,tcp", False), ("^vader", False), ("^openib", True),
        ("sm,self", True), ("^sm,tcp", False),
    ],
)  # fmt: skip
def test_who_uses_shared_memory(btl: str, uses: bool) -> None:
    assert uses_shared_memory(btl) is uses


def test_what_a_rank_needs() -> None:
    loading = Loading(iterator="process", loaderjob=3)
    here = {"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_MCA_btl": "self,vader"}
    assert needs_of(loading, 4, here) == NEEDS
    assert NEEDS.shared_memory == (4 << 20) + (256 << 10) + (64 << 10)
    assert NEEDS.descriptors == 32 + 24 + 3
    alone = needs_of(Loading(iterator="thread", loaderjob=3), 1, {})
    assert (alone, alone.shared_memory) == (Needs(1, 1, False, 0), 0)
    check_node(alone, replace(this_node(), free_shared_memory=lambda: 0))


def test_full_shared_memory(node: Node) -> None:
    full = replace(node, free_shared_memory=lambda: 4096)
    shm = node.shared_memory
    remove = f"remove what lies in {shm} of that node (`ls -l {shm}`), or mount it larger; "
    assert refusal(NEEDS, full) == (
        f"the shared memory {shm} of n1 has 0.0 MB free, MPI needs 4.5 MB",
        f"{remove}MPI does without it by the site's `mca: {{btl: self,tcp}}`",
    )
    assert refusal(replace(NEEDS, segment=False), full) == (
        f"the shared memory {shm} of n1 has 0.0 MB free, loader processes need 0.1 MB",
        f"{remove}`iterator: thread` does without it",
    )


def test_shared_memory_that_cannot_be_written(node: Node) -> None:
    shm = node.shared_memory
    shm.rmdir()
    message, _ = refusal(NEEDS, node)
    assert message == (
        f"the shared memory {shm} of n1 cannot be used: No such file or directory; MPI needs it"
    )


def test_no_folder_for_temporary_files(node: Node, tmp_path: Path) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    expected = "make room in the folder that TMPDIR names there (else /tmp), or name another"
    assert refusal(NEEDS, replace(node, temporary=none)) == (
        "no temporary file can be made on n1: No usable temporary directory found in ['/tmp']",
        expected,
    )
    gone = str(tmp_path / "gone")
    assert refusal(NEEDS, replace(node, temporary=lambda: gone)) == (
        "no temporary file can be made on n1: No such file or directory",
        expected,
    )


def test_a_path_too_long_for_sockets(node: Node, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    deep = replace(node, temporary=lambda: str(folder))
    assert refusal(NEEDS, deep) == (
        f"the temporary folder {folder} has a path of {len(str(folder))} bytes, "
        "loader processes need one of at most 75 for their sockets",
        "set TMPDIR to a folder with a shorter path, or use `iterator: thread`",
    )
    check_node(replace(NEEDS, loaders=0), deep)


def test_few_descriptors(node: Node) -> None:
    assert refusal(NEEDS, replace(node, descriptors=lambda _: (20, 20))) == (
        "a process on n1 may open 20 files (at most 20), a rank of this run needs 59",
        "raise the limit there (`ulimit -n`), or use fewer loaders",
    )


def test_little_memory(node: Node) -> None:
    assert refusal(NEEDS, replace(node, memory=10**7)) == (
        "n1 has 10.0 MB of free memory, 2 rank(s) need 134.2 MB to start",
        "end what else runs there, or take a node with more memory",
    )
    check_node(NEEDS, replace(node, memory=None))


@pytest.mark.parametrize(
    ("error", "message", "step"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "the system of n1 refused: No space left on device",
            "make room there: in the folder of the run, in /dev/shm, and in the folder of TMPDIR",
        ),
        (
            OSError(errno.EMFILE, "Too many open files", "/a"),
            "the system of n1 refused: Too many open files (/a)",
            "raise the limit of open files there (`ulimit -n`), or use fewer loaders",
        ),
        (
            BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
            "the system of n1 refused: Resource temporarily unavailable",
            "raise the limit of processes there (`ulimit -u`), or use fewer loaders",
        ),
        (
            OSError("AF_UNIX path too long"),
            "the system of n1 refused: AF_UNIX path too long",
            "look after this node, then start the run again; the traceback is in the run's logs",
        ),
        (
            MemoryError("Unable to allocate 9. GiB"),
            "memory ran out on n1: Unable to allocate 9. GiB",
            "use a smaller batchsize, fewer loaders or ranks, or a node with more memory",
        ),
        (
            MemoryError(),
            "memory ran out on n1: no more could be had",
            "use a smaller batchsize, fewer loaders or ranks, or a node with more memory",
        ),
        (
            RuntimeError("can't start new thread"),
            "n1 lets this process start no more threads",
            "raise the limit of processes there (`ulimit -u`), or use fewer loaders",
        ),
    ],
)
def test_errors_of_the_system_are_the_nodes(
    error: Exception, message: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.node_fault.host_name", lambda: "n1")
    said = failure.describe(error, 1)
    assert (said.message, said.next_step, said.exit_code) == (message, step, 2)
    assert RunFiles(tmp_path).failure.exists() is False


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("y"), KeyError("z")])
def test_errors_of_ours_stay_ours(error: Any) -> None:
    assert node_fault(error) is None
    assert failure.describe(error, 0).message.startswith("the trainer has a fault: ")
