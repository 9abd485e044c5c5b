"""PBS Professional, OpenPBS and ABCI's PBS: qsub, qstat, qdel (PBS Professional user's guide)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional, Sequence

from jobtemplates.backend import JobEnd, QueueEntry, Scheduler, account
from jobtemplates.gridengine import letter_first
from jobtemplates.job_array import JobArray
from jobtemplates.submitted import SCHEDULER_LOG, Submitted, only_line

#: qstat(1B), job states; ``C`` (completed) is TORQUE's.
_QUEUED = {"Q": "", "W": "", "T": "", "H": "held"}
_RUNNING = {"R": "", "B": "", "E": "", "S": "suspended", "U": "suspended"}
_ENDED = {"F", "X", "C"}

#: Folders whose names mean themselves in ``-o``.
_PLAIN = re.compile(r"[A-Za-z0-9_./@+=-]*")


class Pbs(Scheduler):
    name = "pbs"
    title = "PBS"
    prefix = "#PBS"
    job_id = (
        re.compile(r"[1-9][0-9]{0,11}(\[[1-9][0-9]{0,8}\])?(\.[A-Za-z0-9_.-]{1,200})?"),
        "NUMBER.SERVER",
    )
    host_file = "PBS_NODEFILE"
    slots_next_step = "ask for chunks on hosts of their own (site profile: -l place=scatter)"
    commands = ("qsub", "qstat", "qdel")
    version_question = ("qstat", "--version")
    version_pattern = r"[Vv]ersion[ =:]+(\S+)"
    variables = ("PBS_CONF_FILE", "PBS_SERVER", "PBS_DEFAULT")
    away = "[Cc]annot connect to server|Connection refused"
    cut_off = "End of File|Premature end of message|timed out"
    warns = False
    owned = {
        "-N": "use the key jobname",
        "-o": "use the key stdout",
        "-e": "use the key stderr",
        "-S": "the job script is bash",
        "-P": "use the key group",
        "-A": "use the key group",
        "-V": "the environment is passed on by an allow-list",
        "-v": "the environment is passed on by an allow-list",
        "-J": "one run is one job",
        "-r": "a run goes on by submit --chain or resume",
        "-I": "a run is a batch job",
        "-X": "a run is a batch job",
        "-z": "bundle reads what qsub prints",
        "-l walltime": "use the key walltime",
        "-l select": "use the keys nnodetype, nnodes and ranks_per_node",
        "-W depend": "use submit --chain",
        "-W block": "use submit --wait",
    }

    #: An array must be one that may be started again (qsub(1B), -r): a task that is goes on from
    #: its newest checkpoint, or ends at once where it was done.
    array = JobArray(
        size="-J 1-{tasks}",
        number="$PBS_ARRAY_INDEX",
        job='"${PBS_JOBID%%.*}"',
        output="^array_index^",
        answer=r"([1-9][0-9]*)\[\](?:\.([A-Za-z0-9_.-]+))?",
        task="{array}[{task}]{server}",
        task_number=r"\[(\d+)\]",
        changes={"-r n": "-r y"},
    )

    def header(self, jobname: str, walltime_seconds: Optional[int]) -> List[str]:
        return [
            "-S /bin/bash",
            "-V",
            f"-N {letter_first(jobname)}",
            f"-o {SCHEDULER_LOG}",
            "-j oe",
            "-r n",
        ]

    def directive(self, key: str, value: str) -> List[str]:
        if key == "j":
            return []  # the job script itself joins its output
        return [f"-{key} {value}".rstrip()]

    def settings(self, directive: str) -> FrozenSet[str]:
        """Of ``-l`` each resource, of ``-W`` each attribute for itself."""
        flag, value = directive[:2], directive[2:].strip()  # -Nname is -N name
        if flag == "-W":
            return frozenset({f"-W {value.partition('=')[0].strip()}"})
        if flag != "-l":
            return frozenset({flag})
        if value.startswith("select"):
            return frozenset({"-l select"})  # its commas belong to it
        names = (part.partition("=")[0].strip() for part in value.split(","))
        return frozenset(f"-l {name}" for name in names if name)

    def submit(
        self,
        script: Path,
        *,
        options: Sequence[str] = (),
        after: Optional[str] = None,
        cluster: str = "",
    ) -> List[str]:
        held = ["-W", f"depend=afterany:{after}"] if after else []
        return ["qsub", *options, *held, *self.output(script.parent), str(script)]

    def output(self, run: Path) -> List[str]:
        """qsub reads ``host:path`` there, and commas and brackets have meanings of their own."""
        return [] if _PLAIN.fullmatch(str(run)) else ["-o", "/dev/null"]

    def output_warning(self, run: Path) -> Optional[str]:
        if _PLAIN.fullmatch(str(run)):
            return None
        return f"out: {run}: PBS may take it for another path: there will be no {SCHEDULER_LOG}"

    def parse_submitted(self, stdout: str) -> Submitted:
        """The id alone; what stands after its first dot is the server that has the job."""
        job, server = only_line(r"([1-9][0-9]*(?:\.([A-Za-z0-9_.-]+))?)", stdout)
        return Submitted(job, server)

    def cluster_asked(self, lines: Sequence[str]) -> str:
        """``-q queue@server`` sends a job to another server."""
        found = ""
        for line in lines:
            match = re.match(r"-q\s*[A-Za-z0-9_.-]*@([A-Za-z0-9_.:-]+)", line.strip())
            found = match[1] if match else found
        return found

    def home(self) -> List[str]:
        return ["qstat", "-B", "-f"]

    def parse_home(self, stdout: str) -> str:
        match = re.search(r"^Server: (\S+)", stdout, re.M)
        return match[1] if match else ""

    def elsewhere(self, cluster: str, home: str) -> str:
        """A server's name may be a host's, with its domain or without."""
        same = not home or cluster.partition(".")[0] == home.partition(".")[0]
        return "" if same else cluster

    def states(self, user: str, cluster: str = "") -> List[List[str]]:
        """``-x`` tells of ended jobs too, where the server keeps their history; ``-t`` of each task
        of an array."""
        server = [f"@{cluster}"] if cluster else []
        return [
            ["qstat", *words, "-u", account(user), *server]
            for words in (["-x", "-t", "-w"], ["-t", "-w"], ["-x", "-w"], ["-w"], [])
        ]

    def working(self, user: str, cluster: str = "") -> List[List[str]]:
        """Without ``-x``: of those that live."""
        return [words for words in self.states(user, cluster) if "-x" not in words]

    def parse_working(self, stdout: str, jobname: str, roots: Sequence[Path]) -> List[str]:
        """By the name: a listing does not tell the folder. A long name ends with a ``*`` there."""
        rows = [line.split() for line in stdout.splitlines()]
        jobs = [row for row in rows if len(row) >= 10 and row[0][:1].isdigit()]
        name = letter_first(jobname)
        return [
            row[0]
            for row in jobs
            if row[3] == name or (row[3].endswith("*") and name.startswith(row[3][:-1]))
        ]

    def parse_states(self, stdout: str) -> Dict[str, QueueEntry]:
        """By number: the server's name is cut off where the column is too narrow."""
        entries = {}
        for line in stdout.splitlines():
            fields = line.split()
            if len(fields) < 10 or not fields[0][:1].isdigit():
                continue
            number, state = re.split(r"[.*]", fields[0])[0], fields[-2]
            entries[number] = _entry(state)
        return entries

    def cancel(self, ids: Sequence[str], cluster: str = "") -> List[str]:
        """An id names its server."""
        return ["qdel", *ids]

    def warn(self, job_id: str, cluster: str = "") -> List[str]:
        return ["qsig", "-s", "SIGUSR2", job_id]

    def ending(self, job_id: str, cluster: str = "") -> List[str]:
        return ["qstat", "-x", "-f", job_id]

    def parse_ending(self, stdout: str) -> Optional[JobEnd]:
        """A status above 256 is 256 + the number of the signal that ended the job."""
        code = re.search(r"^\s*Exit_status = (-?\d+)", stdout, re.M)
        words = re.search(r"^\s*comment = (.*)$", stdout, re.M)
        if code is None:
            return None
        status = int(code[1])
        said = words[1].strip() if words else ""
        return JobEnd(status - 128 if status > 256 else status, said)

    def shows_living(self, stdout: str) -> bool:
        state = re.search(r"^\s*job_state = (\w)", stdout, re.M)
        return state is not None and _entry(state[1]).state in ("queued", "running")

    def nodes_there_are(self, others: Dict[str, str], cluster: str = "") -> Optional[List[str]]:
        return None

    def parse_nodes(self, stdout: str) -> Optional[int]:
        return None


def _entry(state: str) -> QueueEntry:
    if state in _QUEUED:
        return QueueEntry("queued", _QUEUED[state])
    if state in _RUNNING:
        return QueueEntry("running", _RUNNING[state])
    if state in _ENDED:
        return QueueEntry("ended")
    if state == "M":
        return QueueEntry("unknown", "it was moved to another server")
    return QueueEntry("unknown", f"its state is {state!r}, which is not known")
