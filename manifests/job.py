"""``job.json``: what the scheduler calls a run's job."""

from __future__ import annotations

from typing import Optional

from pydantic import BaseModel, ConfigDict
from typing_extensions import Literal

from manifests.records import read_record
from manifests.schema import SCHEMA_VERSION, RunFiles


class Job(BaseModel):
    """``id`` is the backend's own text; ``host`` is where it was submitted; times are UTC."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: str = SCHEMA_VERSION
    kind: Literal["job"] = "job"
    backend: str
    id: str
    host: str
    submitted: str


def read_job(files: RunFiles) -> Optional[Job]:
    """None where nothing was submitted. Raises Trouble for a damaged or newer file."""
    return read_record(files.job, Job) if files.job.exists() else None
