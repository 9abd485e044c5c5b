"""The summary of a dry run, from a plan's manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifests.cli.outlook_text import outlook_lines
from manifests.flows.outlook import Outlook, room_of, room_or_none
from manifests.record.run_files import RunFiles


def test_lines_are_80_letters_but_for_paths() -> None:
    outlook = Outlook(
        where="site slurm, node type gpu, 64 ranks, one process each, on 16 nodes, group abcdefgh",
        what="resnet50, 1000 classes", steps=450000, walltime="24:00:00", room=3 * 10**9,
        free=10**9, seconds=7384.0, like="/runs/" + "x" * 100,
    )  # fmt: skip
    files = RunFiles(Path("/runs/a"))
    assert outlook_lines(outlook, files) == [
        "where      site slurm, node type gpu, 64 ranks, one process each, on 16 nodes,",
        "           group abcdefgh",
        "           /runs/a",
        "what       resnet50, 1000 classes",
        "how long   450000 steps, walltime 24:00:00, about 2h03m at the speed of",
        f"           {outlook.like}",
        "room       about 3.0 GB, 1.0 GB free: not enough",
    ]
    bare = Outlook("here", "nin", 3, None, None, None)
    assert outlook_lines(bare, files)[-2:] == ["how long   3 steps", "room       not known"]


def test_the_room_of_a_run(manifest: Any) -> None:
    small = manifest()
    more = manifest(epochs=300, optimizer={"name": "adam", "lr": 0.1})
    assert 0 < room_of(small) < room_of(more)
    own = manifest()
    training = own.identity.training.model_copy(update={"arch": "my_own"})
    identity = own.identity.model_copy(update={"training": training})
    assert room_or_none(own.model_copy(update={"identity": identity})) is None
