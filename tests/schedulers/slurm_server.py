"""A private Slurm: munged, slurmctld and several slurmd on this machine, everything in one folder.

The folder's path must be short: munge's socket lies in it (108 bytes at most).
"""

from __future__ import annotations

import getpass
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Dict, List

from tests.schedulers.daemons import (
    NotUp,
    call,
    free_ports,
    missing,
    on_its_own_node,
    stop,
    wait_until,
)

PROGRAMS = ("slurmctld", "slurmd", "munged", "mungekey", "sbatch")

CONF = """\
ClusterName=bundle
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
SlurmctldPort={control_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
MinJobAge=600
KillWait=5
OverTimeLimit=0
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=DEFAULT Nodes=ALL DefaultTime=10 MaxTime=INFINITE State=UP
PartitionName=debug Default=YES PriorityTier=1 GraceTime=8
PartitionName=urgent PriorityTier=9
"""


class SlurmServer:
    """``nodes`` nodes called n1, n2, … of ``cpus`` processors each, all on this host."""

    def __init__(self, nodes: int = 2, cpus: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bsl-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.environment: Dict[str, str] = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        control_port, *ports = free_ports(1 + nodes)
        lines = [
            f"NodeName={name} NodeHostname={host()} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
            "RealMemory=1000 State=UNKNOWN"
            for name, port in zip(self.nodes, ports)
        ]
        text = CONF.format(
            host=host(), user=getpass.getuser(), folder=self.folder, control_port=control_port,
            nodes="\n".join(lines),
        )  # fmt: skip
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "state").mkdir()

    @staticmethod
    def missing() -> List[str]:
        return missing(PROGRAMS)

    def start(self) -> None:
        """Raises NotUp, with the end of the servers' logs."""
        at = str(self.folder)
        try:
            call(["mungekey", "-c", "-k", f"{at}/munge.key"], {})
            flags = {
                "key-file": "munge.key",
                "socket": "munge.sock",
                "pid-file": "munged.pid",
                "log-file": "munged.log",
                "seed-file": "munge.seed",
            }
            call(["munged", *(f"--{flag}={at}/{name}" for flag, name in flags.items())], {})
            self.start_controller()
            for name in self.nodes:
                call(on_its_own_node(["slurmd", "-N", name]), self.environment)
            wait_until(lambda: self.idle() == len(self.nodes), "idle nodes")
        except NotUp as error:
            logs = "\n".join(
                f"{path.name}: {path.read_text()[-600:]}" for path in self.folder.glob("*.log")
            )
            self.stop()
            raise NotUp(f"{error}\n{logs}") from error

    def idle(self) -> int:
        done = call(["sinfo", "-h", "-t", "idle", "-o", "%D"], self.environment, code=None)
        return int(done.stdout.strip() or 0) if done.returncode == 0 else -1

    def start_controller(self) -> None:
        call(["slurmctld"], self.environment)

    def stop_controller(self) -> None:
        stop(self.folder / "slurmctld.pid", ["slurmctld"])

    def show(self, job: str) -> str:
        return call(["scontrol", "--oneliner", "show", "job", job], self.environment).stdout

    def release(self, *jobs: str) -> None:
        call(["scontrol", "release", *jobs], self.environment)

    def queued(self) -> List[str]:
        return call(["squeue", "-h", "-o", "%i"], self.environment).stdout.split()

    def kill(self, job: str) -> None:
        """The job script at once, as when its node dies; Slurm then ends the ranks."""
        call(["scancel", "--batch", "--signal=KILL", job], self.environment)

    def end_soon(self, job: str) -> None:
        """Its time limit is reached in a few seconds; Slurm's warning comes at once."""
        call(["scontrol", "update", f"JobId={job}", "EndTime=now+8"], self.environment)

    def reached_its_limit(self, job: str) -> bool:
        """Whether the time that Slurm had given it was cut, and it ended within that."""
        fields = dict(word.partition("=")[::2] for word in self.show(job).split())
        return fields["TimeLimit"] != "00:10:00" or fields["JobState"] == "TIMEOUT"

    def cancel(self, job: str) -> None:
        call(["scancel", job], self.environment)

    def preempt(self) -> None:
        """A short job of a partition that goes before takes all nodes."""
        script = self.folder / "urgent.sh"
        script.write_text("#!/bin/bash\nsleep 1\n")
        words = ["--partition=urgent", f"--nodes={len(self.nodes)}", "--exclusive"]
        call(["sbatch", *words, "--output=/dev/null", str(script)], self.environment)

    def suspend(self, job: str) -> None:
        call(["scontrol", "suspend", job], self.environment)

    def unsuspend(self, job: str) -> None:
        call(["scontrol", "resume", job], self.environment)

    def warn(self, job: str) -> None:
        call(["scancel", "--batch", "--signal=USR2", job], self.environment)

    def stop(self) -> None:
        call(["scancel", "--user", getpass.getuser()], self.environment, code=None)
        for name in self.nodes:
            stop(self.folder / f"slurmd.{name}.pid", ["slurmd"])
        self.stop_controller()
        stop(self.folder / "munged.pid", ["munged"])
        shutil.rmtree(self.folder, ignore_errors=True)


def host() -> str:
    return socket.gethostname().partition(".")[0]
