"""Whatever the sizes, every file's own bytes are passed on and hashed."""

from __future__ import annotations

import hashlib
import io
import random
import threading

import pytest

from manifests.rundir import hashed_flow
from manifests.rundir.hashed_flow import HashedFlow

BUFFER = hashed_flow._BUFFER
SIZES = [0, 1, 700, BUFFER - 1, BUFFER, BUFFER + 1, 0, 9 * BUFFER + 5, *range(200)]


@pytest.mark.parametrize("seed", range(3))
def test_files_of_all_sizes_one_after_another(seed: int) -> None:
    dice = random.Random(seed)
    contents = [dice.randbytes(size) for size in dice.sample(SIZES, len(SIZES))]
    arrived = []
    with HashedFlow() as flow:
        passed = []
        for content in contents:
            target = bytearray()
            passed.append(flow.run(io.BytesIO(content).readinto, target.extend))
            arrived.append(bytes(target))
    assert arrived == contents
    assert [found.size for found in passed] == [len(content) for content in contents]
    assert [found.sha256 for found in passed] == [
        hashlib.sha256(content).hexdigest() for content in contents
    ]


def test_a_fault_ends_its_thread() -> None:
    before = set(threading.enumerate())

    def broken(buffer: memoryview) -> int:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"), HashedFlow() as flow:
        flow.run(io.BytesIO(bytes(3 * BUFFER)).readinto, lambda block: None)
        flow.run(broken, lambda block: None)
    assert set(threading.enumerate()) <= before  # one of another test may have ended
