"""Statements: in-toto Statement v1 about a run, as text and as value; what is signed is the text"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def parse_statement(text: str) -> Statement:
    """Raises ValueError, with a reason, for a text that is not an in-toto Statement v1."""
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    if not isinstance(value, dict) or value.get("_type") != STATEMENT:
        raise ValueError(f"is not an in-toto statement: expected the _type {STATEMENT}")
    try:
        return Statement.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"is not an in-toto statement: {place}: {first['msg']}") from error


def part_of_steps(predicate: Mapping[str, Any]) -> str:
    """Of a rerun-verdict on a part of its run: ``steps 21..30 of 36``; "" for one on all steps."""
    steps = predicate.get("steps")
    if not isinstance(steps, dict) or "last" not in steps:
        return ""
    if (steps.get("first"), steps["last"]) == (1, steps.get("of")):
        return ""
    return f"steps {steps.get('first')}..{steps['last']} of {steps.get('of')}"


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
