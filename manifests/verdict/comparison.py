"""The outcome of holding two runs against each other: verdict, evidence, exit code"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from typing_extensions import Literal

from manifests.record.version import SCHEMA_VERSION

Verdict = Literal["identical", "diverged", "cannot-run", "inconclusive"]

_EXIT_CODES: Dict[str, int] = {"identical": 0, "diverged": 1, "cannot-run": 2, "inconclusive": 3}


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class FieldDifference(_Part):
    """A manifest field by its dotted path; None stands for a field that is not there."""

    path: str
    a: Any = None
    b: Any = None


class StepItem(_Part):
    """What differed of one rank in one step; ``tensors`` names them for the tensor digests."""

    rank: int
    what: Literal["samples", "loss", "gradients", "parameters", "record"]
    tensors: List[str] = Field(default_factory=list)
    a: Optional[str] = None
    b: Optional[str] = None


class StepDifference(_Part):
    step: int
    items: List[StepItem]


class StepsClaim(_Part):
    """A verdict on the steps after ``after`` up to ``end``, of a run of ``of`` steps, which were
    computed from the state after step ``begin``. ``bound``: the run's result has the digest of that
    state. What an identical verdict shows is ``claimed``, the rest of the run ``not_claimed``."""

    begin: int
    after: int
    end: int
    of: int
    bound: bool
    #: Whether both recorded the state after the last step, or that is the run's last.
    ends_on_a_state: bool = False
    claimed: List[str] = Field(default_factory=list)
    not_claimed: List[str] = Field(default_factory=list)


class SlicePart(_Part):
    """One slice: the steps after ``begin`` up to ``end``; the rest as in :class:`StepsClaim`."""

    begin: int
    end: int
    verdict: Verdict
    run: Optional[str]
    bound: bool
    ends_on_a_state: bool


class SlicesClaim(_Part):
    """A verdict on a run of so many ``steps`` by slices of it; with a ``seed`` they were drawn from
    ``of``, else they are the whole run."""

    steps: int
    of: int
    seed: Optional[str] = None
    root: Optional[str] = None
    parts: List[SlicePart]
    claimed: List[str] = Field(default_factory=list)
    not_claimed: List[str] = Field(default_factory=list)


class SwappedPart(_Part):
    """What of ``a`` was replaced on purpose in ``b``, and whether that is another one: ``differs``
    is False where today's is the recorded one."""

    part: str
    differs: bool
    text: str


class ZoomPlace(_Part):
    """The first tensor that differs, in the order of the work (manifests.record.step_trace), and
    the ranks, on these hosts, on which it does."""

    phase: str
    layer: str
    tensor: str
    ranks: List[int]
    hosts: List[str]


class Zoom(_Part):
    """The first step that differs, run again here from the state after step ``begin`` (0: the seed)
    in the directories ``runs``. ``alike``: runs of the same parts have the same digests. ``first``
    is where runs that are unlike part, else where the parts of both runs do, else where a record
    differs from what was computed here; None where nothing does."""

    step: int
    begin: int
    runs: List[str]
    alike: bool
    first: Optional[ZoomPlace] = None
    sentences: List[str] = Field(default_factory=list)


class Comparison(_Part):
    """``evidence`` says what the verdict rests on; ``suspects`` are the identity fields that
    differ, ``circumstances`` those that only describe; ``next_step`` is for the person to do.
    ``steps`` is there where not all steps were compared, ``slices`` where they were in slices.
    ``swapped`` is empty unless ``b`` is a rerun of ``a`` with parts replaced on purpose."""

    version: str = SCHEMA_VERSION
    kind: Literal["comparison"] = "comparison"
    verdict: Verdict
    a: str
    b: Optional[str] = None
    evidence: List[str] = Field(default_factory=list)
    first_difference: Optional[StepDifference] = None
    last_equal_step: Optional[int] = None
    last_equal_parameters: Optional[int] = None
    suspects: List[FieldDifference] = Field(default_factory=list)
    circumstances: List[FieldDifference] = Field(default_factory=list)
    next_step: Optional[str] = None
    swapped: List[SwappedPart] = Field(default_factory=list)
    steps: Optional[StepsClaim] = None
    zoom: Optional[Zoom] = None
    slices: Optional[SlicesClaim] = None

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> Dict[str, Any]:
        """A part of later versions is absent where there is none."""
        values: Dict[str, Any] = handler(self)
        later = ("steps", "slices", "zoom")
        return {name: value for name, value in values.items() if name not in later or value}


def exit_code(verdict: Verdict) -> int:
    return _EXIT_CODES[verdict]


def cannot_run(a: str, problems: List[str], next_step: str = "") -> Comparison:
    """The verdict on a run that could not be repeated at all."""
    return Comparison(
        verdict="cannot-run", a=a, evidence=list(problems), next_step=next_step or None
    )
