"""Batches in memory that loaders share: kept as long as they are used, used again afterwards."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.iterators.leases import Form, Leases, array_in
from trainer.iterators.shared_memory import SharedMemory

SHAPE = (3, 1000)
FORM = Form(SHAPE, "<f4")


def test_a_slot_is_free_again_when_no_array_rests_on_it() -> None:
    memory = SharedMemory.make()
    leases = Leases(memory)
    first, array = leases.lend(FORM)
    view = array[1:, ::2]
    del array
    second, other = leases.lend(FORM)
    assert second != first
    del view
    assert leases.lend(FORM)[0] == first
    assert other.shape == SHAPE


def test_a_larger_slot_serves_a_smaller_batch() -> None:
    leases = Leases(SharedMemory.make())
    large = leases.lend(Form((8, 1000), "<f4"))[0]
    small = leases.lend(Form((2, 1000), "<f4"))[0]
    middle, array = leases.lend(Form((4, 1000), "<f4"))
    del array
    assert leases.lend(Form((1, 1000), "<f4"))[0] == small
    assert leases.lend(Form((3, 1000), "<f4"))[0] == middle
    assert leases.lend(Form((5, 1000), "<f4"))[0] == large


def test_the_array_is_the_memory_of_the_slot() -> None:
    memory = SharedMemory.make()
    slot, array = Leases(memory).lend(FORM)
    assert (array.dtype, array.shape, array.flags.c_contiguous) == (np.float32, SHAPE, True)
    array_in(memory.bytes_of(slot), FORM)[2, 5:] = 7
    assert array.sum() == 7 * 995


def test_bytes_take_a_quarter_of_the_room() -> None:
    memory = SharedMemory.make()
    slot, array = Leases(memory).lend(Form((4, 4096), "|u1"))
    assert (array.dtype, array.shape, slot.size) == (np.uint8, (4, 4096), 4 * 4096)
    assert Leases(memory).lend(Form((4, 4096), "<f4"))[0].size == 16 * 4096


def test_an_array_outlives_the_pool() -> None:
    _, array = Leases(SharedMemory.make()).lend(FORM)
    array[:] = 3
    assert array.sum() == 9000


@pytest.mark.parametrize("old_kernel", [False, True])
def test_the_memory_has_no_name(monkeypatch: pytest.MonkeyPatch, old_kernel: bool) -> None:
    def refused(_name: str) -> Any:
        raise OSError("Function not implemented")

    made = []
    temporary_file = tempfile.TemporaryFile
    if old_kernel:
        monkeypatch.setattr(os, "memfd_create", refused)
        monkeypatch.setattr(
            tempfile,
            "TemporaryFile",
            lambda **given: made.append(given) or temporary_file(**given),  # type: ignore[func-returns-value]
        )
    memory = SharedMemory.make()
    _, array = Leases(memory).lend(FORM)
    array[:] = 1
    assert array.sum() == 3000
    assert str(Path(f"/proc/self/fd/{memory._descriptor}").readlink()).endswith(" (deleted)")
    assert made == ([{"dir": "/dev/shm"}] if old_kernel else [])
