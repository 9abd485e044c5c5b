"""PBS Professional, OpenPBS and ABCI's PBS: qsub, qstat, qdel (PBS Professional user's guide)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional, Sequence

from jobtemplates.backend import JobEnd, QueueEntry, Scheduler, Unreadable
from jobtemplates.gridengine import letter_first

_QUEUED = {"Q": "", "W": "", "T": "", "H": "held", "M": "moved"}
_RUNNING = {"R": "", "B": "", "E": "", "S": "suspended", "U": "suspended"}
_ENDED = {"F", "X", "C"}


class Pbs(Scheduler):
    name = "pbs"
    title = "PBS"
    prefix = "#PBS"
    job_id = (re.compile(r"[1-9][0-9]{0,11}(\.[A-Za-z0-9_.-]{1,200})?"), "NUMBER.SERVER")
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

    def header(self, jobname: str, walltime_seconds: Optional[int]) -> List[str]:
        return [
            "-S /bin/bash",
            "-V",
            f"-N {letter_first(jobname)}",
            "-o logs/scheduler.log",
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
        self, script: Path, *, options: Sequence[str] = (), after: Optional[str] = None
    ) -> List[str]:
        held = ["-W", f"depend=afterany:{after}"] if after else []
        return ["qsub", *options, *held, str(script)]

    def parse_submitted(self, stdout: str) -> str:
        match = re.search(r"^([1-9][0-9]*(?:\.[A-Za-z0-9_.-]+)?)$", stdout.strip(), re.M)
        if match is None:
            raise Unreadable(stdout)
        return match[1]

    def states(self, user: str) -> List[List[str]]:
        """``-x`` tells of ended jobs too, where the server keeps their history."""
        return [
            ["qstat", "-x", "-w", "-u", user],
            ["qstat", "-w", "-u", user],
            ["qstat", "-u", user],
        ]

    def working(self, user: str) -> List[List[str]]:
        return self.states(user)[1:]

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
            number, state = re.split(r"[.*\[]", fields[0])[0], fields[-2]
            if state in _QUEUED:
                entries[number] = QueueEntry("queued", _QUEUED[state])
            elif state in _RUNNING:
                entries[number] = QueueEntry("running", _RUNNING[state])
            elif state in _ENDED:
                entries[number] = QueueEntry("ended")
            else:
                raise Unreadable(line)
        return entries

    def cancel(self, ids: Sequence[str]) -> List[str]:
        return ["qdel", *ids]

    def ending(self, job_id: str) -> List[str]:
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

    def nodes_there_are(self, others: Dict[str, str]) -> Optional[List[str]]:
        return None

    def parse_nodes(self, stdout: str) -> Optional[int]:
        return None
