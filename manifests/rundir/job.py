"""``job.json``: what the scheduler calls a run's job."""

from __future__ import annotations

import re
from typing import List, Optional, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from typing_extensions import Literal

from manifests.record.schema import SCHEMA_VERSION, RunFiles
from manifests.rundir.records import Warn, ignore, read_record

#: Backend -> (its ids, the same in words).
_IDS = {
    "local": (re.compile(r"[0-9]{1,10}\.[0-9]{1,20}"), "PID.START"),
    "slurm": (re.compile(r"[1-9][0-9]{0,11}"), "a number above 0"),
    "gridengine": (re.compile(r"[1-9][0-9]{0,11}"), "a number above 0"),
    "pbs": (re.compile(r"[1-9][0-9]{0,11}(\.[A-Za-z0-9_.-]{1,200})?"), "NUMBER.SERVER"),
}


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
        pattern, words = _IDS.get(info.data.get("backend", ""), (None, ""))
        for text in [value] if isinstance(value, str) else value:
            if pattern is not None and not pattern.fullmatch(text):
                raise ValueError(f"found {text[:60]!r}, expected {words}")
        return value

    @property
    def ids(self) -> List[str]:
        return [self.id, *self.chain]


def read_job(files: RunFiles, warn: Warn = ignore) -> Optional[Job]:
    """None where nothing was submitted. Raises Trouble for a damaged or newer file."""
    return read_record(files.job, Job, warn) if files.job.exists() else None
