"""Statements: in-toto Statement v1 about a run, as text and as value; what is signed is the text"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Type, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Literal

from manifests.datasets.names import printable
from manifests.record.canonical_json import canonical_json, indented_json

Model = TypeVar("Model", bound=BaseModel)

#: https://github.com/in-toto/attestation, spec/v1/statement.md and spec/predicates/.
STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"

#: Types of this project; it has no domain, so they are tag URIs (RFC 4151).
RERUN_VERDICT = "tag:bundle,2026:rerun-verdict/v1"
TRAINING_RUN = "tag:bundle,2026:training-run/v1"

#: By this name the subjects of a statement hold the run's ``manifest.json``.
MANIFEST = "manifest.json"


#: A statement is a few KB; more is not one.
_MOST_BYTES = 4 * 2**20


class Descriptor(BaseModel):
    """in-toto's ResourceDescriptor, as far as it is used here."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = ""
    digest: Dict[str, str] = Field(default_factory=dict)

    @property
    def sha256(self) -> Optional[str]:
        return self.digest.get("sha256")


class Statement(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    type: str = Field(alias="_type")
    subject: List[Descriptor] = Field(min_length=1)
    predicate_type: str = Field(alias="predicateType")
    predicate: Dict[str, Any] = Field(default_factory=dict)

    def subject_digest(self, name: str) -> Optional[str]:
        """sha256 of the subject of that name; None where there is none."""
        return next((item.sha256 for item in self.subject if item.name == name), None)


class ComparedSteps(BaseModel):
    """The steps ``first`` to ``last`` of ``of`` were compared, or so many ``slices`` ``drawn`` at
    random; None where nothing was."""

    model_config = ConfigDict(extra="allow", frozen=True)

    first: Optional[int] = Field(default=None, ge=1)
    last: Optional[int] = Field(default=None, ge=1)
    of: int = Field(ge=1)
    drawn: Optional[int] = Field(default=None, ge=1)
    slices: Optional[int] = Field(default=None, ge=1)

    @property
    def whole(self) -> bool:
        return self.drawn is None and (self.first, self.last) == (1, self.of)

    @property
    def part(self) -> str:
        """``steps 21..30 of 36``; "" for all steps, or none."""
        if self.drawn is not None:
            return f"{self.drawn} of {self.slices} slices, drawn at random"
        if self.last is None or self.whole:
            return ""
        return f"steps {self.first}..{self.last} of {self.of}"


class Machine(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    hosts: List[str]
    processor: str = ""
    gpus: List[str] = Field(default_factory=list)


class NamedRerun(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    name: str


class RerunVerdict(BaseModel):
    """The predicate ``rerun-verdict`` (docs/statements.md), as far as it is read again."""

    model_config = ConfigDict(extra="allow", frozen=True)

    verdict: Literal["identical", "diverged", "cannot-run", "inconclusive"]
    rerun: NamedRerun
    steps: ComparedSteps
    machine: Machine
    day: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")


def descriptor(name: str, sha256: str, **more: Any) -> Dict[str, Any]:
    """A ResourceDescriptor; ``more`` are its other fields, such as ``annotations``."""
    return {"name": name, "digest": {"sha256": sha256}, **more}


def statement(
    subject: Sequence[Mapping[str, Any]], predicate_type: str, predicate: Mapping[str, Any]
) -> Dict[str, Any]:
    return {
        "_type": STATEMENT,
        "subject": list(subject),
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def statement_text(value: Mapping[str, Any]) -> str:
    """The text of the file: the same for the same value."""
    return indented_json(value)


def parse_statement(text: str) -> Statement:
    """Raises ValueError, with a reason, for a text that is not an in-toto Statement v1."""
    try:
        value = json.loads(text)
        canonical_json(value)  # neither NaN nor half of a surrogate pair: nobody could show them
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {printable(str(error))}") from error
    if not isinstance(value, dict) or value.get("_type") != STATEMENT:
        raise ValueError(f"is not an in-toto statement: expected the _type {STATEMENT}")
    return _validated(Statement, value, "is not an in-toto statement")


def parse_verdict(statement: Statement) -> RerunVerdict:
    """Raises ValueError, with a reason, for a predicate that is not a rerun-verdict."""
    return _validated(RerunVerdict, statement.predicate, "is not a rerun-verdict")


def _validated(model: Type[Model], value: Any, wrong: str) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(printable(f"{wrong}: {place}: {first['msg']}")) from error


def statement_file_text(path: Path) -> str:
    """Raises FileNotFoundError, or ValueError with what is wrong with the file."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        if status.st_size > _MOST_BYTES:
            raise ValueError(f"has {status.st_size} bytes: too many for a statement")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: {error.reason}") from error
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
