"""The states of a run that this account can see: a folder that cannot be read is as good as gone"""

from __future__ import annotations

from pathlib import Path
from typing import List

from manifests.record.checkpoint_names import checkpoints_in
from manifests.record.run_files import RunFiles


def present_states(files: RunFiles) -> List[Path]:
    """Files named as checkpoints, newest first."""
    try:
        return checkpoints_in(files.checkpoints)
    except PermissionError:
        return []
