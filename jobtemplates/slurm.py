"""Slurm: sbatch, squeue, scancel, scontrol (their manual pages, versions 20.02 and later)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional, Sequence

from jobtemplates.backend import JobEnd, QueueEntry, Scheduler, account
from jobtemplates.job_array import JobArray
from jobtemplates.submitted import SCHEDULER_LOG, Submitted, Unreadable, only_line

#: sbatch's one-letter options, for what a user may have written.
_LONG = {
    "A": "account", "a": "array", "b": "begin", "c": "cpus-per-task", "C": "constraint",
    "d": "dependency", "D": "chdir", "e": "error", "G": "gpus", "H": "hold", "i": "input",
    "J": "job-name", "L": "licenses", "N": "nodes", "n": "ntasks", "o": "output",
    "p": "partition", "q": "qos", "t": "time", "V": "version", "w": "nodelist", "W": "wait",
    "h": "help", "M": "clusters", "x": "exclude",
}  # fmt: skip

#: The original's ``m: abe`` is Grid Engine's: begin, end, abort, suspend.
_MAIL = {"b": "BEGIN", "e": "END", "a": "FAIL", "s": "REQUEUE", "n": "NONE"}

#: squeue(1), job state codes, of versions 20.02 to 25.11. Beside the base states stand flags, which
#: squeue shows in their place.
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "EXPEDITING", "POWER_UP_NODE"}
#: In the queue again, or held there, after something went wrong: a person must look.
_HELD = {"REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "LAUNCH_FAILED", "RECONFIG_FAIL"}
_RUNNING = {
    "RUNNING": "", "COMPLETING": "", "RESIZING": "", "SIGNALING": "", "STAGE_OUT": "",
    "UPDATE_DB": "", "STOPPED": "stopped", "SUSPENDED": "suspended",
}  # fmt: skip
_ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "TIMEOUT",
}  # fmt: skip

#: Reasons that every waiting job has at times; the others may never go away.
_ORDINARY = {"None", "Priority", "Resources", "Dependency", "BeginTime", ""}

#: Reasons that say more of a job that has ended than its state; others may be from its waiting.
_WHY_ENDED = {"JobLaunchFailure", "SystemFailure", "BadConstraints", "DependencyNeverSatisfied"}

#: Seconds before the end of a job whose walltime is the partition's: the trainer knows no deadline.
WARNING = 300


class Slurm(Scheduler):
    name = "slurm"
    title = "Slurm"
    prefix = "#SBATCH"
    job_id = (re.compile(r"[1-9][0-9]{0,11}(_[1-9][0-9]{0,8})?"), "a number above 0")
    commands = ("sbatch", "squeue", "scancel", "scontrol")
    version_question = ("sbatch", "--version")
    version_pattern = r"^slurm(?:-wlm)? (\S+)"
    #: Modules of some sites choose the cluster by the last two.
    variables = ("SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_CLUSTERS")
    option_variables = "SBATCH_"
    away = "Unable to contact slurm controller"
    cut_off = "Socket timed out on send/recv|Zero Bytes were transmitted"
    warns = True
    owned = {
        "job-name": "use the key jobname",
        "output": "use the key stdout",
        "error": "use the key stderr",
        "open-mode": "logs are always appended to",
        "time": "use the key walltime",
        "nodes": "use the key nnodes",
        "ntasks": "use the keys nnodes and ranks_per_node",
        "ntasks-per-node": "use the key ranks_per_node",
        "account": "use the key group",
        "signal": "bundle asks for the warning itself",
        "array": "one run is one job",
        "dependency": "use submit --chain",
        "chdir": "a job works in its run directory",
        "export": "the environment is passed on by an allow-list",
        "requeue": "a run goes on by submit --chain or resume",
        "wrap": "the job script is bundle's",
        "wait": "use submit --wait",
        "parsable": "bundle reads what sbatch prints",
        "test-only": "it would start no job; use submit --dry-run",
        "help": "it would start no job",
        "usage": "it would start no job",
        "version": "it would start no job",
        "gpus-per-task": "ChainerMN chooses among all GPUs of a node; use gpus-per-node",
    }

    array = JobArray(
        size="--array=1-{tasks}",
        number="$SLURM_ARRAY_TASK_ID",
        job='"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"',
        output="%a",
        answer=r"(?:Submitted batch job )?([1-9][0-9]*)(?:(?:;| on cluster )([A-Za-z0-9_.-]+))?",
        task="{array}_{task}",
        task_number=r"_(\d+)$",
    )

    def header(self, jobname: str, walltime_seconds: Optional[int]) -> List[str]:
        return [
            f"--job-name={jobname}",
            f"--output={SCHEDULER_LOG}",
            "--open-mode=append",
            "--no-requeue",
            f"--signal=B:USR2@{warning_seconds(walltime_seconds)}",
        ]

    def directive(self, key: str, value: str) -> List[str]:
        if key == "j":
            return []  # the job script itself joins its output
        if key == "m":
            kinds = [_MAIL[letter] for letter in value if letter in _MAIL]
            return [f"--mail-type={','.join(kinds)}"] if kinds else []
        if key == "M":
            return [f"--mail-user={value}"]
        name = _LONG.get(key, key)
        text = f"--{name}={value}" if value else f"--{name}"
        return [f'"{text}"' if " " in text else text]

    def settings(self, directive: str) -> FrozenSet[str]:
        option = directive.strip('"').partition("=")[0].split()[0]
        name = option[2:] if option.startswith("--") else _LONG.get(option[1:2], option)
        return frozenset({"requeue" if name == "no-requeue" else name})

    def submit(
        self,
        script: Path,
        *,
        options: Sequence[str] = (),
        after: Optional[str] = None,
        cluster: str = "",
    ) -> List[str]:
        held = [f"--dependency=afterany:{after}", "--kill-on-invalid-dep=yes"] if after else []
        output = self.output(script.parent)
        return ["sbatch", "--parsable", *held, *options, *_at(cluster), *output, str(script)]

    def output(self, run: Path) -> List[str]:
        """sbatch(1), filename pattern: ``%`` begins a symbol, ``%%`` stands for one; where there is
        a backslash no symbol is replaced, and two stand for one (tried with 22.05)."""
        path = str(run / SCHEDULER_LOG)
        if "\\" in path:
            pattern = path.replace("\\", "\\\\")
        elif "%" in path:
            pattern = path.replace("%", "%%")
        else:
            return []
        return [f"--output={pattern}"]

    def parse_submitted(self, stdout: str) -> Submitted:
        """``--parsable``: the number, and after a ``;`` the cluster that an option named; an sbatch
        that does not know it says a sentence."""
        try:
            sentence = r"Submitted batch job ([1-9][0-9]*)(?: on cluster ([A-Za-z0-9_.-]+))?"
            return Submitted(*only_line(sentence, stdout))
        except Unreadable:
            return Submitted(*only_line(r"([1-9][0-9]*)(?:;([A-Za-z0-9_.-]+))?", stdout))

    def cluster_asked(self, lines: Sequence[str]) -> str:
        found = ""
        for line in lines:
            match = re.match(r"(?:--clusters?(?:=|\s+)|-M\s*)([A-Za-z0-9_.,-]+)", line.strip(' "'))
            found = match[1] if match else found
        return found

    def home(self) -> List[str]:
        return ["scontrol", "show", "config"]

    def parse_home(self, stdout: str) -> str:
        match = re.search(r"^ClusterName\s*=\s*(\S+)", stdout, re.M)
        return match[1] if match else ""

    def elsewhere(self, cluster: str, home: str) -> str:
        return "" if cluster == home else cluster

    def states(self, user: str, cluster: str = "") -> List[List[str]]:
        """``--all``: in partitions too that are hidden from the user. ``--array``: each task."""
        return [
            [
                "squeue", *_at(cluster), "--all", "--array", "--noheader", "--states=all",
                f"--user={account(user)}", "--format=%i|%T|%r",
            ]
        ]  # fmt: skip

    def working(self, user: str, cluster: str = "") -> List[List[str]]:
        return [
            [
                "squeue", *_at(cluster), "--all", "--array", "--noheader",
                f"--user={account(user)}", "--format=%i|%Z",
            ]
        ]  # fmt: skip

    def parse_working(self, stdout: str, jobname: str, roots: Sequence[Path]) -> List[str]:
        """By the working folder."""
        lines = [line.partition("|") for line in _rows(stdout)]
        if not all(bar for _, bar, _ in lines):
            raise Unreadable(stdout)
        return [job for job, _, folder in lines if Path(folder) in roots]

    def parse_states(self, stdout: str) -> Dict[str, QueueEntry]:
        """Where a federation lists a number twice, the job that lives counts."""
        entries: Dict[str, QueueEntry] = {}
        for line in _rows(stdout):
            job, bar, rest = line.partition("|")
            state, _, reason = rest.partition("|")
            if not bar:
                raise Unreadable(line)
            entry = _entry(state, "" if reason in _ORDINARY else reason)
            known = entries.get(job)
            if known is None or known.state not in ("queued", "running"):
                entries[job] = entry
        return entries

    def cancel(self, ids: Sequence[str], cluster: str = "") -> List[str]:
        return ["scancel", *_at(cluster), *ids]

    def warn(self, job_id: str, cluster: str = "") -> List[str]:
        return ["scancel", *_at(cluster), "--batch", "--signal=USR2", job_id]

    def ending(self, job_id: str, cluster: str = "") -> List[str]:
        return ["scontrol", *_at(cluster), "--oneliner", "show", "job", job_id]

    def parse_ending(self, stdout: str) -> Optional[JobEnd]:
        state = re.search(r"\bJobState=(\w+)", stdout)
        code = re.search(r"\bExitCode=(\d+):(\d+)", stdout)
        if state is None or state[1] not in _ENDED:
            return None
        if code is None:
            return JobEnd(None, state[1])
        status, number = int(code[1]), int(code[2])
        return JobEnd(128 + number if number else status, state[1])

    def logged_end(self, log: str, job_id: str) -> str:
        """slurmstepd's line on a job that it ends; a task of an array has another number there."""
        number = r"\d+" if "_" in job_id else job_id
        found = re.findall(rf"\*\*\* JOB {number} ON \S+ (CANCELLED AT .+?) \*\*\*", log)
        return str(found[-1]) if found else ""

    def shows_living(self, stdout: str) -> bool:
        state = re.search(r"\bJobState=(\w+)", stdout)
        return state is not None and _entry(state[1], "").state in ("queued", "running")

    def nodes_there_are(self, others: Dict[str, str], cluster: str = "") -> Optional[List[str]]:
        """Slurm takes a job that asks for too many nodes, and lets it wait for ever."""
        if "," in cluster or cluster == "all":
            return None  # which one the job will get is not known
        wanted = others.get("partition", others.get("p"))
        partition = [f"--partition={wanted}"] if wanted else []
        return ["sinfo", *_at(cluster), "--noheader", "--format=%N", "--Node", *partition]

    def parse_nodes(self, stdout: str) -> Optional[int]:
        """A node is listed once for each of its partitions."""
        return len(set(_rows(stdout))) or None


def _at(cluster: str) -> List[str]:
    return [f"--clusters={cluster}"] if cluster else []


def _rows(stdout: str) -> List[str]:
    """With ``--clusters`` each cluster's rows may have a heading."""
    lines = (line.strip() for line in stdout.splitlines())
    return [line for line in lines if line and not line.startswith("CLUSTER: ")]


def _entry(state: str, reason: str) -> QueueEntry:
    if state in _WAITING:
        return QueueEntry("queued", reason)
    if state in _HELD:
        return QueueEntry("queued", f"{state}: {reason}" if reason else state)
    if state in _RUNNING:
        return QueueEntry("running", _RUNNING[state])
    if state in _ENDED:
        return QueueEntry("ended", f"{state} ({reason})" if reason in _WHY_ENDED else state)
    if state == "REVOKED":  # of a federation: the job was started by a sibling
        return QueueEntry("unknown", "REVOKED: another cluster of the federation has the job")
    return QueueEntry("unknown", f"its state is {state!r}, which is not known")


def warning_seconds(walltime_seconds: Optional[int]) -> int:
    """How long before the end the warning is to come. Where the deadline is known it is the second
    guard: Slurm may send it a minute earlier than asked (sbatch(1), --signal)."""
    if walltime_seconds is None:
        return WARNING
    return max(1, min(120, walltime_seconds // 20))
