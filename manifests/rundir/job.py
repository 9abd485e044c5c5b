"""``job.json``: what the scheduler calls a run's job."""

from __future__ import annotations

from typing import List, Optional, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from typing_extensions import Literal

from jobtemplates.schedulers import BACKENDS
from manifests.record.schema import SCHEMA_VERSION, RunFiles
from manifests.rundir.records import Warn, ignore, read_record


class Job(BaseModel):
    """``id`` is the backend's own text; ``host`` is where it was submitted; times are UTC.

    ``chain`` holds the ids of its ``follow_ups``, each held until the one before has ended; a local
    job runs them itself.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    version: str = SCHEMA_VERSION
    kind: Literal["job"] = "job"
    backend: str
    id: str
    host: str
    submitted: str
    user: str = ""
    follow_ups: int = 0
    chain: List[str] = Field(default_factory=list)
    earlier: List[str] = Field(default_factory=list)  # ids of the jobs that this one goes on from

    @field_validator("id", "chain", "earlier")
    @classmethod
    def _ids_of_its_backend(
        cls, value: Union[str, List[str]], info: ValidationInfo
    ) -> Union[str, List[str]]:
        """Ids stand on command lines. A local one is a process: its number and its start."""
        backend = BACKENDS.get(info.data.get("backend", ""))
        if backend is None:
            return value
        pattern, words = backend.job_id
        for text in [value] if isinstance(value, str) else value:
            if not pattern.fullmatch(text):
                raise ValueError(f"found {text[:60]!r}, expected {words}")
        return value

    @property
    def ids(self) -> List[str]:
        return [self.id, *self.chain]


def read_job(files: RunFiles, warn: Warn = ignore) -> Optional[Job]:
    """None where nothing was submitted. Raises Trouble for a damaged or newer file."""
    return read_record(files.job, Job, warn) if files.job.exists() else None
