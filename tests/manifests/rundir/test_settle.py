"""A job on this host that has left its exit code ends within moments; resume waits for that."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from container.progress import Silent
from container.trouble import Trouble
from jobtemplates import local
from manifests.flows.resume import refuse_busy
from manifests.host.context import HostContext, read_host_context
from manifests.record.run_files import RunFiles
from manifests.rundir.job import Job
from manifests.rundir.queue import SETTLE_SECONDS, Queues, settle
from tests.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def host() -> HostContext:
    return read_host_context(PROJECT, Silent())


def started(files: RunFiles, host: HostContext, script: str) -> Job:
    files.logs.mkdir(parents=True)
    files.job_script.write_text(script)
    job = Job(backend="local", id=local.start(files, os.environ), host=host.hostname, submitted="")
    files.job.write_text(job.model_dump_json())
    return job


def test_resume_waits_for_the_last_process_of_a_job(tmp_path: Path, host: HostContext) -> None:
    files = RunFiles(tmp_path / "run")
    job = started(
        files, host, "echo 2 > exit_code; while [ ! -e go ]; do sleep 0.1; done; exit 2\n"
    )
    wait_until(files.exit_code.exists)
    assert Queues(host)(files).state == "running"
    ending = threading.Timer(1, (files.root / "go").touch)
    ending.start()
    refuse_busy(files, host)
    ending.join()
    assert not local.is_alive(job.id)
    assert Queues(host)(files).state == "ended"


def test_a_job_that_has_left_nothing_is_not_waited_for(tmp_path: Path, host: HostContext) -> None:
    files = RunFiles(tmp_path / "run")
    job = started(files, host, "touch begun; sleep 600\n")
    wait_until((files.root / "begun").exists)
    begun = time.monotonic()
    with pytest.raises(Trouble) as caught:
        refuse_busy(files, host)
    assert str(caught.value) == (
        f"{files.root}: its job still runs\n"
        f"-> to end it first: python bundle.py cancel {files.root}"
    )
    settle(job.model_copy(update={"host": "another"}), host)
    assert time.monotonic() - begun < SETTLE_SECONDS
    assert local.is_alive(job.id)
    local.cancel(job.id, grace=0.2)


def test_a_helper_that_mounts_an_image_is_ended_then(tmp_path: Path, host: HostContext) -> None:
    files = RunFiles(tmp_path / "run")
    files.root.mkdir()
    shutil.copy(str(shutil.which("sleep")), files.root / "squashfuse_ll")
    job = started(files, host, "./squashfuse_ll 600 & echo 2 > exit_code; wait\n")
    wait_until(files.exit_code.exists)
    wait_until(lambda: "squashfuse_ll" in {one.command for one in local.session_of(job.id)})
    for process in local.session_of(job.id):
        if process.command != "squashfuse_ll":
            local.send(process, signal.SIGKILL)
    refuse_busy(files, host)
    wait_until(lambda: not local.session_of(job.id))
