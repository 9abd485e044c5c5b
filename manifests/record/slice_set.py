"""``slices.json``: which steps of a run are checked by which slices, each a run directory beside it

The slices themselves are the run directories in the same folder, found by ``circumstance.slice`` of
their manifests: so nothing is lost where the process that started them was killed.
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from pydantic import Field
from typing_extensions import Literal

from manifests.record.schema import Record
from manifests.record.version import SCHEMA_VERSION

#: (S, T): the steps after S up to T.
Steps = Tuple[int, int]


class SliceOptions(Record):
    """How the slices are placed; as the options of `rerun`."""

    moved: Dict[str, str] = Field(default_factory=dict)
    site: Optional[str] = None
    group: Optional[str] = None
    mirror: Optional[str] = None
    processes: Optional[int] = None
    nodes: Optional[int] = None
    other_gpu: bool = False
    emulate: Optional[str] = None


class SliceSet(Record):
    """``slices``: (S, T) of each, the steps after S up to T. ``of``: into how many the whole run is
    divided; with a ``seed`` those here were drawn from them (:func:`drawn`)."""

    version: str = SCHEMA_VERSION
    kind: Literal["slices"] = "slices"
    run: str
    identity_digest: str
    root: Optional[str] = None
    steps: int
    slices: List[Steps]
    of: int
    seed: Optional[str] = None
    options: SliceOptions = Field(default_factory=SliceOptions)
    created: str


class ArrayFiles:
    """File names of a job array, in a folder of its own: its script, and by the number of each task
    a link to the run directory whose job script it runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.script = root / "array.sh"

    def task(self, number: int) -> Path:
        return self.root / str(number)


class SetFiles:
    """File names of a folder of slices."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plan = root / "slices.json"
        self.verdict = root / "verdict.json"
        self.report = root / "report.html"

    def new_array(self) -> ArrayFiles:
        """Of a job array that is not there yet."""
        names = (f"array-{number}" for number in itertools.count(1))
        return ArrayFiles(
            next(path for path in map(self.root.joinpath, names) if not path.exists())
        )


def slices_between(cuts: Sequence[int], steps: int) -> List[Steps]:
    """The slices into which states after the steps ``cuts`` divide a run of so many steps."""
    ends = [*sorted(cuts), steps]
    return list(zip([0, *ends], ends))


def even_cuts(steps: int, slices: int, states: Sequence[int]) -> Optional[List[int]]:
    """The states after which a run is divided into so many slices, as equal as they allow; None
    where there are too few of them."""
    ordered = sorted(states)
    if len(ordered) < slices - 1:
        return None
    cuts: List[int] = []
    begin = 0
    for number in range(1, slices):
        last = len(ordered) - (slices - 1 - number)
        ideal = steps * number / slices
        place = min(range(begin, last), key=lambda k: (abs(ordered[k] - ideal), k))
        cuts.append(ordered[place])
        begin = place + 1
    return cuts


def drawn(root: str, seed: str, of: int, count: int) -> List[int]:
    """``count`` of the numbers below ``of``, in rising order: those with the smallest sha256 of
    ``root:seed:number``. Nobody knows them before the root is fixed."""
    ranked = sorted(
        range(of), key=lambda k: hashlib.sha256(f"{root}:{seed}:{k}".encode()).hexdigest()
    )
    return sorted(ranked[:count])
