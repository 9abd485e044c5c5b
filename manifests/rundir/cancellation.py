"""``cancelled.json``: that a person ended the run's job, who and when"""

from __future__ import annotations

from typing import Optional

from pydantic import BaseModel, ConfigDict
from typing_extensions import Literal

from manifests.record.run_files import RunFiles
from manifests.record.version import SCHEMA_VERSION
from manifests.rundir.records import Warn, ignore, read_record


class Cancellation(BaseModel):
    """``at`` is UTC; ``saved``: a checkpoint was asked for and written first."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: str = SCHEMA_VERSION
    kind: Literal["cancellation"] = "cancellation"
    by: str
    host: str
    at: str
    saved: bool = False

    @property
    def text(self) -> str:
        return f"cancelled by {self.by} on {self.host} at {self.at}"


def read_cancellation(files: RunFiles, warn: Warn = ignore) -> Optional[Cancellation]:
    """None where nobody cancelled the run's last job. Raises Trouble for a damaged file."""
    return read_record(files.cancelled, Cancellation, warn) if files.cancelled.exists() else None
