"""What `submit` says of the states that a run keeps: steps and room, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from container.trouble import Trouble
from manifests.flows.archive import archive_notes, checkpoint_bytes
from manifests.flows.outlook import room_of
from manifests.record.network_shapes import network_shapes
from manifests.record.schema import Checkpointing


def archiving(manifest: Any, states: Any, **settings: Any) -> Any:
    made = manifest(epochs=12, **settings)
    kept = made.circumstance.model_copy(update={"checkpointing": Checkpointing(archive=states)})
    return made.model_copy(update={"circumstance": kept})


def test_steps_and_room_are_told(manifest: Any) -> None:
    made = archiving(manifest, 3)
    count = sum(
        shape[0] * (shape[1] * shape[2] * shape[3] if len(shape) > 1 else 1)
        for shape in network_shapes("nin", 2).parameters.values()
    )
    assert checkpoint_bytes(made) == 8 * count  # float32, and one velocity each
    each = f"{8 * count / 1e6:.1f}"
    assert archive_notes(made) == [
        f"3 states kept besides the newest checkpoints, after steps 3, 6, 9 of 12: about {each} MB "
        f"each, {24 * count / 1e6:.1f} MB in all"
    ]
    assert archive_notes(archiving(manifest, 1))[0].startswith(
        "1 state kept besides the newest checkpoints, after step 6 of 12: "
    )
    assert "after steps 1, 2, 3, … 10 of 12" in archive_notes(archiving(manifest, 10))[0]
    assert archive_notes(manifest()) == []
    assert room_of(made) - room_of(archiving(manifest, None)) == 3 * checkpoint_bytes(made)


def test_statistics_of_every_rank_count(manifest: Any) -> None:
    made = archiving(manifest, 1, arch="resnet50", insize=224)
    shapes = network_shapes("resnet50", 2)
    statistics = sum(4 * shape[0] for shape in shapes.statistics.values())
    alone = made.model_copy(
        update={
            "identity": made.identity.model_copy(
                update={"world": made.identity.world.model_copy(update={"ranks": 1})}
            )
        }
    )
    assert checkpoint_bytes(made) - checkpoint_bytes(alone) == statistics


@pytest.mark.parametrize("states", [12, 500])
def test_more_states_than_steps_are_refused(manifest: Any, states: int) -> None:
    with pytest.raises(Trouble) as caught:
        archive_notes(archiving(manifest, states))
    assert (caught.value.problems, caught.value.next_step) == (
        [f"checkpoint_archive: {states} states, expected at most 11: the run has 12 steps"],
        "use fewer states, or leave the key out",
    )
    assert archive_notes(archiving(manifest, 11)) != []


def test_the_archive_is_in_the_manifest_only_where_it_is_wanted(manifest: Any) -> None:
    written = archiving(manifest, 3).as_written()["circumstance"]
    assert written["checkpointing"]["archive"] == 3 and "slice" not in written
    assert "archive" not in manifest().as_written()["circumstance"]["checkpointing"]
    assert archiving(manifest, 3).identity.digest() == archiving(manifest, None).identity.digest()
