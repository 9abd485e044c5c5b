"""`doctor --job` that is interrupted: no job stays, at whatever moment it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, List

import pytest

from jobtemplates import local
from manifests.doctor import job_check
from manifests.flows.start import start_run
from manifests.host.context import HostContext
from manifests.record.schema import Placement
from manifests.rundir.job import Job
from tests.manifests.rundir.test_queue import fakes, host, prepared

__all__ = ["fakes", "host"]


@pytest.mark.parametrize("late", [False, True])
def test_an_interrupt_as_soon_as_the_job_is_recorded(
    tmp_path: Path, host: HostContext, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    files = prepared(tmp_path, "local")
    files.job_script.write_text("exec sleep 600\n")
    started: List[Job] = []

    def start(*arguments: Any, **named: Any) -> Job:
        started.append(start_run(*arguments, **named))
        if not late:
            raise KeyboardInterrupt
        return started[0]

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_check, "start_run", start)
    monkeypatch.setattr(job_check, "job_now", interrupt)
    work: Any = SimpleNamespace(placement=Placement(site="local", jobname="x", scheduler="local"))
    with pytest.raises(KeyboardInterrupt):
        job_check.run_in_job(files, work, host)
    assert local.session_of(started[0].id) == []
