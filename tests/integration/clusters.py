"""A bench on a real scheduler of its own: a profile, and what tests do to it from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

import pytest

from container.yaml_text import load_yaml
from jobtemplates.sites import PROFILES as PROFILES_OF_THE_PROJECT
from tests.integration.conftest import Bench
from tests.schedulers.daemons import INSTALL
from tests.schedulers.gridengine_server import GridEngineServer
from tests.schedulers.guard import Guard
from tests.schedulers.slurm_server import SlurmServer
from tests.waiting import PATIENCE, wait_until

Server = Union[SlurmServer, GridEngineServer]


def shipped(scheduler: str, **filled_in: Any) -> str:
    """The project's own profile of a scheduler as ``kite``, with what a site has to fill in."""
    profile = load_yaml(PROFILES_OF_THE_PROJECT / f"{scheduler}.yaml")
    return json.dumps({**profile, "name": "kite", **filled_in})


def changed(text: str, name: str, **changes: Any) -> str:
    """A profile of another name; a key whose new value is None is left out."""
    values = {**json.loads(text), "name": name, **changes}
    return json.dumps({key: value for key, value in values.items() if value is not None})


def walltime_of(text: str, walltime: str) -> List[str]:
    """The directives, with a walltime of their own."""
    return [line.replace("{walltime}", walltime) for line in json.loads(text)["directives"]]


#: Between the nodes by an interface that stays: MPI would take any, also the bridge of another
#: test, and hang when that is removed.
PROFILES: Dict[str, str] = {
    "slurm": shipped("slurm", max_walltime="01:00:00", mca={"btl_tcp_if_include": "lo"}),
    "gridengine": shipped(
        "gridengine",
        max_nodes=2,
        max_walltime="01:00:00",
        default_walltime="00:10:00",
        mca={"btl_tcp_if_include": "eth0"},
    ),
}

#: Grid Engine with the resource types of TSUBAME 3.
TYPES = changed(
    PROFILES["gridengine"],
    "kite-types",
    nodetypes={"f_node": {"ranks": 2, "cores": 2, "directives": ["-l f_node={nodes}"]}},
    directives=["-l h_rt={walltime}"],
)

#: A profile of which the trainer is told no walltime; Grid Engine's ends a job after 55 s, Slurm is
#: told to by the test.
SHORT: Dict[str, Callable[[str], str]] = {
    "slurm": lambda text: changed(text, "kite-short"),
    "gridengine": lambda text: changed(
        text, "kite-short", default_walltime=None, directives=walltime_of(text, "0:0:55")
    ),
}


@dataclass
class Cluster:
    scheduler: str
    server: Server
    bench: Bench
    never_ended: Optional[Path] = None  # what other runs are compared with

    def config(self, name: str, **changes: Any) -> Path:
        """Two nodes with one rank each; the fields of the bench's own configs."""
        values = {"site": "kite", "nnodes": 2, "ranks_per_node": 1, **changes}
        return self.bench.config(name, **values)

    def start(self, config: Path, *options: str) -> Path:
        """Submit and return at once."""
        done = self.bench.bundle("submit", "--json", *options, config)
        return Path(json.loads(done.stdout)["run"])

    def row(self, run: Path) -> Dict[str, Any]:
        rows = json.loads(self.bench.bundle("status", "--json", run).stdout)
        return dict(rows[0])

    def wait_for_state(
        self, run: Path, *states: str, seconds: float = 2 * PATIENCE
    ) -> Dict[str, Any]:
        rows: List[Dict[str, Any]] = []

        def is_there() -> bool:
            rows[:] = [self.row(run)]
            return rows[0]["state"] in states

        wait_until(is_there, lambda: f"{rows}\n{logs(run)}", seconds, 0.3)
        return rows[0]

    def wait_for_steps(self, run: Path, steps: int, seconds: float = 2 * PATIENCE) -> None:
        trail = run / "results" / "trail" / "rank-00001.jsonl"
        wait_until(
            lambda: trail.exists() and trail.read_bytes().count(b"\n") >= steps,
            lambda: logs(run), seconds, 0.05,
        )  # fmt: skip

    def lose_a_node(self) -> None:
        """The launcher's daemon on the second node and all that it started die at once; the job
        script on the first one lives."""
        ours = processes_of(self.server)
        daemons = [pid for pid, (name, words) in ours.items() if name == "orted"]
        second = [pid for pid in daemons if b"SLURMD_NODENAME=n2" in ours[pid][1]] or daemons
        dying = descendants(second[0])
        for pid in dying:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end_a_rank(self, rank: int, number: signal.Signals) -> None:
        mark = f"OMPI_COMM_WORLD_RANK={rank}".encode()
        ranks = [
            pid
            for pid, (name, words) in processes_of(self.server).items()
            if name.startswith("python3") and mark in words
        ]
        os.kill(ranks[0], number)

    def wait_for_exit_code(self, run: Path, seconds: float = PATIENCE) -> None:
        """The script leaves it after the ranks have left their own marks."""
        wait_until((run / "exit_code").exists, lambda: logs(run), seconds, 0.05)

    def wait_for_queue(self, run: Path, seconds: float = PATIENCE) -> None:
        """Until none of the run's jobs is in the queue."""
        jobs = set(self.jobs(run))
        wait_until(lambda: not set(self.server.queued()) & jobs, lambda: logs(run), seconds, 0.3)

    def wait_for_free_nodes(self, seconds: float = PATIENCE) -> None:
        """A job holds its slots for a moment after the result that ``submit --wait`` waits for."""
        wait_until(lambda: not self.server.queued(), self.server.queued, seconds, 0.3)

    def jobs(self, run: Path) -> List[str]:
        job = json.loads((run / "job.json").read_text())
        return [job["id"], *job["chain"]]


def processes_of(server: Server) -> Dict[int, Tuple[str, List[bytes]]]:
    """Living processes that were started with the server's settings: name and environment."""
    name = "SLURM_CONF" if "SLURM_CONF" in server.environment else "SGE_ROOT"
    mark = f"{name}={server.environment[name]}".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "environ").read_bytes().split(b"\0")
            if mark in words:
                found[int(path.name)] = ((path / "comm").read_text().strip(), words)
    return found


def descendants(pid: int) -> List[int]:
    """A process and all that it started, the first one first."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found


def logs(run: Path) -> str:
    """What a failed test must show."""
    found = sorted((run / "logs").glob("*")) if run.exists() else []
    return "\n".join(f"--- {path.name}\n{path.read_text()[-1500:]}" for path in found)


SERVERS = {"slurm": SlurmServer, "gridengine": GridEngineServer}


@contextmanager
def started(scheduler: str, folder: Path, data: Path) -> Iterator[Cluster]:
    """A scheduler of its own with all profiles; the test is skipped where it cannot run."""
    kind = SERVERS[scheduler]
    absent = kind.missing()
    if absent:
        pytest.skip(f"{', '.join(absent)}: {INSTALL}")
    server = kind()
    if scheduler == "gridengine" and len(server.hosts) < 2:
        pytest.skip("several Grid Engine hosts on one machine need root")
    guard = Guard(server)
    server.start()
    root = folder / "a 'run' of \"$(touch owned)\"; é`id`&"
    shutil.copytree(data, root / "data")
    profiles = root / "config" / "bundle" / "sites"
    profiles.mkdir(parents=True)
    text = PROFILES[scheduler]
    (profiles / "kite.yaml").write_text(text)
    loose = changed(text, "kite-loose", directives=walltime_of(text, "00:10:00"))
    (profiles / "kite-loose.yaml").write_text(loose)
    if scheduler == "gridengine":
        (profiles / "kite-types.yaml").write_text(TYPES)
        filled = changed(text, "kite-filled", parallel_environment="mpi_fill")
        (profiles / "kite-filled.yaml").write_text(filled)
    (profiles / "kite-short.yaml").write_text(SHORT[scheduler](text))
    environment = {"XDG_CONFIG_HOME": str(root / "config"), **server.environment}
    yield Cluster(scheduler, server, Bench(root, environment=environment))
    server.stop()
    guard.release()
