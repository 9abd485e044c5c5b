"""A cancellation that a person does not wait for: the run is cancelled all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from container.progress import Silent
from container.trouble import Trouble
from jobtemplates import local
from manifests.flows import cancel as cancel_module
from manifests.flows.cancel import Interrupted, cancel_run, cancel_saving
from manifests.host.context import HostContext, read_host_context
from manifests.record.run_files import RunFiles
from manifests.rundir import queue
from manifests.rundir.job import Job


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostContext:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return read_host_context(tmp_path, Silent())


@pytest.fixture
def run(tmp_path: Path, host: HostContext, monkeypatch: pytest.MonkeyPatch) -> RunFiles:
    """Its job lives on this host, and does nothing that it is asked for."""
    files = RunFiles(tmp_path / "a b")
    files.root.mkdir()
    write_job(files, host)
    monkeypatch.setattr(local, "is_alive", lambda _job: True)
    monkeypatch.setattr(local, "warn_leader", lambda _job: None)
    return files


def write_job(files: RunFiles, host: HostContext, follow_ups: int = 0) -> None:
    job = Job(backend="local", id="1.1", host=host.hostname, submitted="", follow_ups=follow_ups)
    files.job.write_text(job.model_dump_json())


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_after_the_job_was_asked_to_end(
    run: RunFiles, host: HostContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "cancel", interrupted)
    with pytest.raises(Interrupted) as caught:
        cancel_run(run, host)
    assert str(caught.value) == (
        f"interrupted: {run.root}: its job was asked to end\n"
        f"-> see whether it has ended: python bundle.py status '{run.root}'"
    )
    assert caught.value.exit_code == 130
    assert json.loads(run.cancelled.read_text())["saved"] is False


def test_what_could_not_be_cancelled_is_not_called_so(
    run: RunFiles, host: HostContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> bool:
        raise Trouble("the scheduler did not cancel")

    monkeypatch.setattr(queue, "cancel", refused)
    with pytest.raises(Trouble, match="did not cancel"):
        cancel_run(run, host)
    assert not run.cancelled.exists()


@pytest.mark.parametrize(
    ("follow_ups", "what"),
    [(0, "ends"), (2, "its follow-up goes on from there")],
)
def test_ctrl_c_while_its_checkpoint_is_waited_for(
    run: RunFiles, host: HostContext, monkeypatch: pytest.MonkeyPatch, follow_ups: int, what: str
) -> None:
    write_job(run, host, follow_ups)
    monkeypatch.setattr(cancel_module.time, "sleep", interrupted)
    said: list[str] = []
    with pytest.raises(Interrupted) as caught:
        cancel_saving(run, host, said.append)
    assert said == ["waiting for its checkpoint"]
    comma = "," if follow_ups else ""
    assert str(caught.value) == (
        f"interrupted: {run.root}: it writes its checkpoint{comma} and {what}\n"
        f"-> to end it at once: python bundle.py cancel '{run.root}'"
    )
    assert run.cancelled.exists() is (follow_ups == 0)
