"""``results/trace/``: what one step computed, layer by layer, as digests in the order of the work

Shared by both sides of the container.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import List, Optional, Tuple

from typing_extensions import Literal

from manifests.record.schema import Record
from manifests.record.version import SCHEMA_VERSION

Phase = Literal[
    "before", "batch", "forward", "loss", "backward", "gradients", "orders", "reduced", "after"
]

#: What a rank does in a step, in this order: the state that it begins with; its batch; the layers'
#: activations; its loss; the gradients of activations, from the last layer to the first; its own
#: gradients of parameters in the same order; (rank 0) means of all ranks' gradients, added in other
#: orders; the mean that the communicator made; the state after the update.
PHASES: Tuple[Phase, ...] = (
    "before", "batch", "forward", "loss", "backward", "gradients", "orders", "reduced", "after",
)  # fmt: skip


class TraceHead(Record):
    """First line of a rank's file. ``samples`` are the indices of its batch in the sample table."""

    version: str = SCHEMA_VERSION
    kind: Literal["trace"] = "trace"
    step: int
    rank: int
    host: str


class TraceEntry(Record):
    """``digest`` is a tensor digest as in the trail. ``layer`` is the path of a link, "" for the
    whole network; ``tensor`` says which of its arrays. ``samples``, of the batch's images: their
    indices in the sample table."""

    phase: Phase
    layer: str
    tensor: str
    digest: str
    samples: Optional[List[int]] = None

    @property
    def place(self) -> Tuple[str, str, str]:
        return self.phase, self.layer, self.tensor


class RankTrace(Record):
    head: TraceHead
    entries: List[TraceEntry]


def read_rank_trace(path: Path) -> RankTrace:
    """Raises ValueError for lines that are not a trace, OSError as any reader."""
    first, *rest = path.read_bytes().splitlines() or [b""]
    return RankTrace(
        head=TraceHead.model_validate(json.loads(first)),
        entries=[TraceEntry.model_validate(json.loads(line)) for line in rest],
    )


def added_text(block: int) -> str:
    """The tensor name of a mean whose ranks were added in blocks of so many, one after another, and
    the blocks by recursive doubling."""
    return f"mean of ranks in blocks of {block}"
