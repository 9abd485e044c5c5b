"""``job.json``: what the scheduler calls a run's job."""

from __future__ import annotations

import json
from typing import Dict, List, Optional, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from typing_extensions import Literal

from jobtemplates.schedulers import BACKENDS
from manifests.record.run_files import RunFiles
from manifests.record.version import SCHEMA_VERSION
from manifests.rundir.records import Warn, ignore, read_record

#: Cluster names stand on command lines.
_CLUSTER = r"^([A-Za-z0-9_][A-Za-z0-9_.,-]{0,200})?$"


class Job(BaseModel):
    """``id`` is the backend's own text; ``host`` is where it was submitted; times are UTC.

    Where it lies is for questions: ``cluster`` is one of the scheduler by name ("": the default
    one), ``home`` what the scheduler called itself, ``environment`` the variables by which its
    commands found it and ``program`` the one that submitted. They are absent from older files.

    ``processes`` on so many ``nodes`` computed the ranks, ``script`` with this sha256 started them,
    where they were others than the manifest's.

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
    cluster: str = Field(default="", pattern=_CLUSTER)
    home: str = ""
    environment: Optional[Dict[str, str]] = None
    program: str = ""
    processes: Optional[int] = None
    nodes: Optional[int] = None
    script: Optional[str] = Field(default=None, pattern=r"^job[a-z0-9-]*\.sh$")
    script_sha256: Optional[str] = None
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


class Submitting(BaseModel):
    """``submitting``: a scheduler was given a job, and its answer is not recorded yet. It may be
    the ``task`` of an ``array``, which is called by its folder."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    jobname: str
    user: str = ""
    host: str = ""
    environment: Optional[Dict[str, str]] = None
    cluster: str = Field(default="", pattern=_CLUSTER)
    array: str = ""
    task: int = 0


def read_submitting(files: RunFiles) -> Optional[Submitting]:
    """None where there is none. An older one, or a damaged one, holds the job's name alone."""
    try:
        text = files.submitting.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    try:
        return Submitting.model_validate(json.loads(text))
    except ValueError:
        return Submitting(jobname=text.strip())
