"""Versions of NVIDIA's driver, as its own file and a person write them."""

from __future__ import annotations

from typing import Optional

import pytest

from manifests.record.driver_version import parse_version, parse_version_file, too_old

CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
)
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build\n"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (CLOSED + "GCC version:  gcc version 12.2.0\n", "535.104.05"),
        (OPEN, "560.35.03"),
        ("nothing of it", None),
        ("", None),
    ],
)
def test_the_file_of_the_kernel_module(text: str, version: Optional[str]) -> None:
    assert parse_version_file(text) == version


def test_a_version_alone() -> None:
    assert parse_version("525.60.13") == "525.60.13"
    assert [parse_version(text) for text in ("", "525", "525.60\n", "v1.2")] == [None] * 4


def test_too_old() -> None:
    assert too_old("525.60.11", "525.60.13")
    assert not too_old("525.60.13", "525.60.13")
    assert not too_old("525.105", "525.60.13")  # by numbers, not by letters
