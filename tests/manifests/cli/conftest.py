"""A run with a log, for figures."""

from __future__ import annotations

import pytest

from manifests.record.run_files import RunFiles
from tests.manifests.cli.plot_logs import edit, row, write_log


@pytest.fixture
def run(finished_run: RunFiles) -> RunFiles:
    """Steps of 2 ranks x 2 of 4 samples: a step is an epoch."""
    write_log(finished_run, [row(1), row(2), row(3)])
    edit(finished_run, lambda values: values["training"].update(nclasses=10))
    return finished_run
