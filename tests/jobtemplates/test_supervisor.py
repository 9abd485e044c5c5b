"""The first process of a job on this host, started as a job starts it"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from jobtemplates.local import SUPERVISOR
from jobtemplates.supervisor import LOOK_SECONDS
from tests.waiting import PATIENCE


def test_a_job_that_is_suspended_while_its_warning_waits_goes_on(tmp_path: Path) -> None:
    """Python's sigtimedwait gives any number after such a stop: it was sent to the script."""
    script = "echo ready; sleep 3; exit 3"  # no trap: the warning waits for one
    words = [*SUPERVISOR, "0", "75", str(tmp_path / "mark"), "bash", "-c", script]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as job:
        assert job.stdout is not None and job.stderr is not None
        assert job.stdout.readline() == "ready\n"
        job.send_signal(signal.SIGUSR2)
        for _ in range(5):
            time.sleep(2 * LOOK_SECONDS)  # it waits again
            job.send_signal(signal.SIGSTOP)
            time.sleep(4 * LOOK_SECONDS)  # longer than between two looks
            job.send_signal(signal.SIGCONT)
        assert job.wait(PATIENCE) == 3
        assert job.stderr.read() == ""
