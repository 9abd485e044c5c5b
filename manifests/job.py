"""``job.json``: what the scheduler calls a run's job."""

from __future__ import annotations

import re
from typing import List, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from typing_extensions import Literal

from manifests.records import Warn, ignore, read_record
from manifests.schema import SCHEMA_VERSION, RunFiles

_LOCAL_ID = re.compile(r"[0-9]{1,10}\.[0-9]{1,20}")


class Job(BaseModel):
    """``id`` is the backend's own text; ``host`` is where it was submitted; times are UTC."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: str = SCHEMA_VERSION
    kind: Literal["job"] = "job"
    backend: str
    id: str
    host: str
    submitted: str
    earlier: List[str] = Field(default_factory=list)  # ids of the jobs that this one goes on from

    @field_validator("id")
    @classmethod
    def _id_of_its_backend(cls, value: str, info: ValidationInfo) -> str:
        """A local job is a process, named by its number and its start (jobtemplates.local)."""
        if info.data.get("backend") == "local" and not _LOCAL_ID.fullmatch(value):
            raise ValueError(f"found {value[:60]!r}, expected PID.START")
        return value


def read_job(files: RunFiles, warn: Warn = ignore) -> Optional[Job]:
    """None where nothing was submitted. Raises Trouble for a damaged or newer file."""
    return read_record(files.job, Job, warn) if files.job.exists() else None
