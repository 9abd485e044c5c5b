"""``export.json``, the first member of an export file: which run it holds, and how much of it"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Optional, Tuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Literal

from container.faults import faults_of
from manifests.record.canonical_json import digest_of, indented_json
from manifests.record.run_files import RunFiles
from manifests.rundir.tar_members import name_problem

EXPORT_VERSION = "1.0"
#: Bytes that it may have.
LARGEST = 64 * 1024

Held = Literal["image", "packages", "data"]
_SHA256 = r"^[0-9a-f]{64}$"


class ExportHead(BaseModel):
    """``size`` are the bytes of the members' contents, ``size_after`` those of the whole file after
    this member. ``sums_sha256`` is the digest of ``SHA256SUMS``, which has those of all others;
    ``digest`` is that of this record without it: it stands for the whole export.

    ``steps`` are the first and the last of a part of a run; None for a whole one.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    version: str = EXPORT_VERSION
    kind: Literal["export"] = "export"
    run: str  # the name of its directory
    identity_digest: str = Field(pattern=_SHA256)
    holds: List[str] = Field(default_factory=list)
    steps: Optional[Tuple[int, int]] = None
    anonymous: bool = False
    files: int = Field(ge=1)
    size: int = Field(ge=0)
    size_after: int = Field(ge=0)
    sums_sha256: str = Field(pattern=_SHA256)

    @property
    def digest(self) -> str:
        return digest_of(self._values())

    def text(self) -> bytes:
        """The member's content; its length does not depend on the digests."""
        values = {**self._values(), "digest": self.digest}
        return indented_json(values).encode()

    def _values(self) -> Dict[str, Any]:
        return self.model_dump(mode="json", exclude={"digest"})


class HeadFault(Exception):
    """Not the head of an export; ``problems`` are sentences without their subject."""

    def __init__(self, *problems: str, next_step: str) -> None:
        self.problems = problems
        self.next_step = next_step
        super().__init__("; ".join(problems))


NOT_ONE = "give a file that was made by: python bundle.py export RUN"
AGAIN = "copy it again from where it was made, or export the run again"


def parse_head(text: bytes) -> ExportHead:
    """Raises HeadFault for anything but a head of this major version that is as it was written."""
    try:
        values: Any = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or values.get("kind") != "export":
        raise HeadFault("its export.json was altered: it is not that of an export", next_step=AGAIN)
    _check_version(values.get("version"))
    claimed = values.pop("digest", None)
    if claimed != digest_of(values):
        raise HeadFault(
            f"its export.json was altered: it has the digest {digest_of(values)}, "
            f"and says {claimed}",
            next_step=AGAIN,
        )
    try:
        head = ExportHead.model_validate(values)
    except ValidationError as error:
        raise HeadFault(*faults_of(error, "its export.json"), next_step=AGAIN) from error
    # A hidden folder, or one that a command would take for an option, is no run's.
    odd = "/" in head.run or head.run.startswith((".", "-")) or bool(name_problem(head.run))
    if odd or head.text() != text:
        raise HeadFault("its export.json is not as bundle writes it", next_step=NOT_ONE)
    return head


def _check_version(found: object) -> None:
    known = EXPORT_VERSION.split(".")[0]
    if not isinstance(found, str) or not re.fullmatch(r"[0-9]+\.[0-9]+", found):
        raise HeadFault(f"export.json: version {found!r} is not of the form MAJOR.MINOR",
                        next_step=AGAIN)  # fmt: skip
    if found.split(".")[0] != known:
        raise HeadFault(
            f"is of export version {found}: this bundle reads version {known}.x",
            next_step="import it with the bundle that wrote it, or with a newer one",
        )


def held_steps(files: RunFiles) -> Optional[Tuple[int, int]]:
    """The steps that an imported part of a run is about; None for a whole run."""
    try:
        return parse_head(files.export.read_bytes()).steps
    except (OSError, HeadFault):
        return None
