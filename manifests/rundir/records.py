"""Reading the JSON records of a run directory, with a message for each way they can be wrong.

The models, and pydantic, are imported where a record is read: listing runs needs none.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Type, TypeVar

from container.digest import BLOCK
from container.reachable import file_problem
from container.trouble import Trouble
from manifests.record.run_files import RunFiles
from manifests.record.version import UnsupportedVersion, check_version

if TYPE_CHECKING:
    from pydantic import BaseModel

    from manifests.record.outcome import Failure, Result, Stop, TrailRecord
    from manifests.record.schema import Manifest

Record = TypeVar("Record", bound="BaseModel")
Warn = Callable[[str], None]

_OWN = "Value error, "

RESTORE = "restore the file from a copy of the run directory"


def ignore(warning: str) -> None:
    del warning


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Trouble(f"{path}: does not exist", RESTORE) from None
    except OSError as error:
        raise Trouble(f"{path}: cannot be read: {error.strerror}", "check the path") from error


def _read(path: Path) -> bytes:
    with _readable(path):
        return path.read_bytes()


def read_object(path: Path) -> Dict[str, Any]:
    """Return the JSON object in a file. Raises Trouble when there is none."""
    try:
        value = json.loads(_read(path).decode("utf-8"))
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno}, column {error.colno}"
        raise Trouble(f"{place}: is not JSON: {error.msg}", RESTORE) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise Trouble(f"{path}: is not JSON: {error}", RESTORE) from error
    if not isinstance(value, dict):
        raise Trouble(f"{path}: is not a JSON object", RESTORE)
    return value


def _reason(message: str) -> str:
    """What a validator of our own said, without pydantic's word for it."""
    return message[len(_OWN) :] if message.startswith(_OWN) else message


def parse_record(raw: Dict[str, Any], where: str, model: Type[Record], warn: Warn) -> Record:
    """Check version and fields of a record.

    Raises Trouble for another major version and for missing or wrong fields (all of them); calls
    ``warn`` for a newer minor version, whose unknown fields are kept.
    """
    from pydantic import ValidationError

    try:
        warning = check_version(raw.get("version"))
    except UnsupportedVersion as error:
        raise Trouble(f"{where}: {error}", "read it with a bundle of that version") from error
    if warning:
        warn(f"{where}: {warning}")
    try:
        return model.model_validate_json(json.dumps(raw, allow_nan=True))  # as old runs have it
    except ValidationError as error:
        raise Trouble(
            [
                f"{where}: {'.'.join(str(part) for part in item['loc'])}: {_reason(item['msg'])}"
                for item in error.errors(include_url=False)
            ],
            RESTORE,
        ) from error


def read_record(path: Path, model: Type[Record], warn: Warn = ignore) -> Record:
    """Read one record file. Raises Trouble as :func:`read_object` and :func:`parse_record` do."""
    return parse_record(read_object(path), str(path), model, warn)


def read_manifest(files: RunFiles, warn: Warn = ignore) -> Manifest:
    from manifests.record.schema import Manifest

    return read_record(files.manifest, Manifest, warn)


def read_result(files: RunFiles, warn: Warn = ignore) -> Result:
    from manifests.record.outcome import Result

    return read_record(files.result, Result, warn)


def read_failure(files: RunFiles, warn: Warn = ignore) -> Optional[Failure]:
    """None where no rank wrote one."""
    from manifests.record.outcome import Failure

    return read_record(files.failure, Failure, warn) if files.failure.exists() else None


def read_stop(files: RunFiles, warn: Warn = ignore) -> Optional[Stop]:
    """None where the run did not stop early."""
    from manifests.record.outcome import Stop

    return read_record(files.stopped, Stop, warn) if files.stopped.exists() else None


def parse_trail(data: bytes, where: str) -> List[TrailRecord]:
    """Records of one rank; a last line that was not finished (killed run) is left out.

    Raises Trouble for a line that is not a record.
    """
    from manifests.record.outcome import TrailRecord

    records = []
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            record = TrailRecord.model_validate_json(line)
            if record.loss is not None:
                float.fromhex(record.loss)
            records.append(record)
        except (ValueError, OverflowError) as error:  # pydantic's own error is a ValueError
            raise Trouble(f"{where}, line {number}: is not a trail record", RESTORE) from error
    return records


def trail_files(files: RunFiles, ranks: int) -> List[Path]:
    """The file of each rank, in order. Raises Trouble where one is missing or cannot be read."""
    paths = [files.trail_of(rank) for rank in range(ranks)]
    missing = [f"{path}: {why}" for path in paths if (why := file_problem(path))]
    if missing:
        raise Trouble(missing, RESTORE)
    return paths


def read_trail(files: RunFiles, ranks: int) -> List[List[TrailRecord]]:
    """Records of each rank, in order. Raises Trouble when a file is missing or damaged."""
    return [parse_trail(_read(path), str(path)) for path in trail_files(files, ranks)]


def trail_digest(files: RunFiles, ranks: int) -> str:
    """sha256 over the bytes of all trail files, in rank order (ResultDigests.trail)."""
    import hashlib

    sha256 = hashlib.sha256()
    for rank in range(ranks):
        path = files.trail_of(rank)
        with _readable(path), path.open("rb") as stream:
            while block := stream.read(BLOCK):
                sha256.update(block)
    return sha256.hexdigest()
