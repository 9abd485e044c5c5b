from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.schedulers.guard import PROJECT, Guard
from tests.waiting import wait_until


@dataclass
class Server:
    mark: Path

    def stop(self) -> None:
        self.mark.write_text("stopped")


def test_a_server_that_was_stopped_is_left_alone(tmp_path: Path) -> None:
    server = Server(tmp_path / "mark")
    Guard(server).release()
    assert not server.mark.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_session_leaves_no_server(tmp_path: Path, number: signal.Signals) -> None:
    server = tmp_path / "server"
    server.write_bytes(pickle.dumps(Server(tmp_path / "mark")))
    code = (
        "import pickle, sys, time; from pathlib import Path\n"
        "from tests.schedulers.guard import Guard\n"
        "guard = Guard(pickle.loads(Path(sys.argv[1]).read_bytes()))\n"
        "print('up', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(server)],
        cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as session:  # fmt: skip
        assert session.stdout is not None and session.stdout.readline() == "up\n"
        os.killpg(session.pid, number)
    wait_until((tmp_path / "mark").exists)
