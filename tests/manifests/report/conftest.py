"""Runs for pages: one with a log, reruns of it, and one that gave other bits from a step on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from container.progress import Silent
from manifests.host.context import HostContext, read_host_context
from manifests.record.run_files import RunFiles
from manifests.rundir.records import trail_digest

PROJECT = Path(__file__).resolve().parents[3]


def with_log(files: RunFiles) -> RunFiles:
    """Its log as the trainer writes one: a row per epoch, with the seconds."""
    rows = [
        {"epoch": step, "iteration": 4 * step, "main/loss": 2 / step, "elapsed_time": 10.0 * step}
        for step in (1, 2, 3)
    ]
    files.log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files


def change(path: Path, edit: Callable[[Dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def rerun_of(original: RunFiles, name: str) -> RunFiles:
    """A rerun of it with the same bits, beside it."""
    files = RunFiles(original.root.parent / name)
    shutil.copytree(original.root, files.root)

    def edit(values: Dict[str, Any]) -> None:
        values["kind"] = "rerun"
        values["circumstance"].update(rerun_of=str(original.root), host="node<2>")

    change(files.manifest, edit)
    return files


def part_ways(files: RunFiles, step: int, rank: int = 1) -> None:
    """Another loss of a rank, from a step on, with the digest that the trail then has."""
    path = files.trail_of(rank)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["step"] >= step:
            line["loss"] = (0.5).hex()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    digest = trail_digest(files, 2)
    change(files.result, lambda values: values["digests"].update(trail=digest))


@pytest.fixture
def original(finished_run: RunFiles) -> RunFiles:
    return with_log(finished_run)


@pytest.fixture
def again(original: RunFiles) -> RunFiles:
    return rerun_of(original, "digits-20260201T000000Z-01234567")


@pytest.fixture
def host() -> HostContext:
    return read_host_context(PROJECT, Silent())
