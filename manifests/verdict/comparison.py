"""The outcome of holding two runs against each other: verdict, evidence, exit code"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from pydantic import BaseModel, ConfigDict, Field
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


class Comparison(_Part):
    """``evidence`` says what the verdict rests on; ``suspects`` are the identity fields that
    differ, ``circumstances`` those that only describe; ``next_step`` is for the person to do."""

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


def exit_code(verdict: Verdict) -> int:
    return _EXIT_CODES[verdict]


def cannot_run(a: str, problems: List[str], next_step: str = "") -> Comparison:
    """The verdict on a run that could not be repeated at all."""
    return Comparison(
        verdict="cannot-run", a=a, evidence=list(problems), next_step=next_step or None
    )
