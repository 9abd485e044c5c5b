"""Lock: every file an image is made of, by name, version, size and sha256, and what is done to it.

The text is canonical (sorted keys, sorted lists, two spaces), so one lock has one sha256, and
carries a digest of itself, so that an edit by hand is refused.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Annotated, Literal

from container.digest import sha256_of_bytes
from container.faults import faults_of
from container.stack import Compression, DropGlob, Kind, Probe, VariableName, VariableValue
from container.trouble import Trouble
from manifests.record.canonical_json import canonical_json

LOCK_FORMAT = "1.0"
REWRITE = "restore it from version control, or write it anew with `bundle.py lock`"

Role = Literal["image", "tools", "build"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: A relative path of ordinary characters: it names a file on disk and reaches a shell glob.
PoolPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+~:!-]*(/[A-Za-z0-9][^/\s]*)*$")]


class LockPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LockedFile(LockPart):
    """``file`` is the path below the mirror's base for a .deb, the bare file name else.

    ``roles``: part of the ``image``, of the packing ``tools``, or needed to ``build`` only.
    """

    name: str
    version: str
    file: PoolPath
    size: int = Field(ge=0)
    sha256: Sha256
    roles: List[Role]

    @property
    def basename(self) -> str:
        return self.file.rsplit("/", 1)[-1]


class PythonFile(LockedFile):
    kind: Kind
    licence: Optional[str] = None


class DebianFiles(LockPart):
    release: str
    architecture: str
    files: List[LockedFile]


class PythonFiles(LockPart):
    version: str
    files: List[PythonFile]


class Lock(LockPart):
    format: str = LOCK_FORMAT
    stack: str
    timestamp: int = Field(ge=0, lt=2**32)
    compression: Compression
    debian: DebianFiles
    python: PythonFiles
    environment: Dict[VariableName, VariableValue]
    drop: List[DropGlob]
    probes: List[Probe]

    def files_for(self, role: Role) -> List[LockedFile]:
        """The .deb files that have the role, in the lock's order."""
        return [file for file in self.debian.files if role in file.roles]

    def python_for(self, role: Role) -> List[PythonFile]:
        return [file for file in self.python.files if role in file.roles]

    @property
    def all_files(self) -> List[LockedFile]:
        return [*self.debian.files, *self.python.files]


def lock_text(lock: Lock) -> str:
    """The text of the lock file, its digest included."""
    content = lock.model_dump(mode="json", exclude_none=True)
    content["digest"] = sha256_of_bytes(canonical_json(content))
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def parse_lock(text: str, where: str) -> Lock:
    """Read the text of a lock; ``where`` names it in messages.

    Raises Trouble when it is not JSON, of an unknown major format, altered, or malformed (every
    fault with its key path).
    """
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise Trouble(f"{where}: is not JSON: {error}", REWRITE) from error
    if not isinstance(content, dict):
        raise Trouble(f"{where}: is not a lock: expected a JSON object", REWRITE)
    _check_format(content.get("format"), where)
    claimed = content.pop("digest", None)
    actual = sha256_of_bytes(canonical_json(content))
    if claimed is None:
        raise Trouble(f"{where}: digest: is missing", REWRITE)
    if claimed != actual:
        problem = (
            f"{where}: was altered since it was written: "
            f"its digest says {claimed}, its content has {actual}"
        )
        raise Trouble(problem, REWRITE)
    try:
        return Lock.model_validate(content)
    except ValidationError as error:
        raise Trouble(faults_of(error, where), REWRITE) from error


def _check_format(found: object, where: str) -> None:
    known = LOCK_FORMAT.split(".")[0]
    if not isinstance(found, str) or not found:
        raise Trouble(f"{where}: format: expected a version such as {LOCK_FORMAT!r}", REWRITE)
    if found.split(".")[0] != known:
        problem = f"{where}: format: is {found}, this bundle reads {known}.x"
        raise Trouble(problem, "use the version of bundle that wrote it")
