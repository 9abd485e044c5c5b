"""Grid Engine (Univa, Altair, Son of Grid Engine): qsub, qstat, qdel, qacct (manual pages, 8.1)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional, Sequence

from jobtemplates.backend import JobEnd, QueueEntry, Scheduler, account
from jobtemplates.job_array import JobArray
from jobtemplates.submitted import SCHEDULER_LOG, Submitted, Unreadable, only_line

#: What Grid Engine may take for a variable of its own in a path.
_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{)")


class GridEngine(Scheduler):
    name = "gridengine"
    title = "Grid Engine"
    prefix = "#$"
    job_id = (re.compile(r"[1-9][0-9]{0,11}(\.[1-9][0-9]{0,8})?"), "a number above 0")
    host_file = "PE_HOSTFILE"
    slots_next_step = (
        "use a parallel environment whose allocation_rule is the number of ranks on a node "
        "(qconf -sp NAME shows it, qconf -spl lists them; site profile: parallel_environment)"
    )
    commands = ("qsub", "qstat", "qdel", "qacct")
    #: Debian's says SGE 8.1.9; UGE (Univa) and AGE (Altair) were not tried.
    version_question = ("qstat", "-help")
    version_pattern = r"^((?:[A-Z]*GE) \S+)"
    variables = (
        "SGE_ROOT", "SGE_CELL", "SGE_CLUSTER_NAME", "SGE_QMASTER_PORT", "SGE_EXECD_PORT",
    )  # fmt: skip
    away = (
        "unable to (send message to|contact) qmaster|unable to read qmaster name|got select error"
    )
    cut_off = "commlib error|unable to receive message"
    warns = True
    owned = {
        "-N": "use the key jobname",
        "-o": "use the key stdout",
        "-e": "use the key stderr",
        "-S": "the job script is bash",
        "-cwd": "a job works in its run directory",
        "-wd": "a job works in its run directory",
        "-V": "the environment is passed on by an allow-list",
        "-v": "the environment is passed on by an allow-list",
        "-g": "use the key group",
        "-t": "one run is one job",
        "-tc": "one run is one job",
        "-hold_jid": "use submit --chain",
        "-hold_jid_ad": "use submit --chain",
        "-notify": "bundle asks for the warning itself",
        "-r": "a run goes on by submit --chain or resume",
        "-b": "the job script is bundle's",
        "-sync": "use submit --wait",
        "-terse": "bundle reads what qsub prints",
        "-verify": "it would start no job; use submit --dry-run",
        "-w v": "it would start no job; use submit --dry-run",
        "-w p": "it would start no job; use submit --dry-run",
        "-help": "it would start no job",
        "-l h_rt": "use the key walltime",
        "-l s_rt": "use the key walltime",
    }

    array = JobArray(
        size="-t 1-{tasks}",
        number="$SGE_TASK_ID",
        job='"$JOB_ID.$SGE_TASK_ID"',
        output="$TASK_ID",
        answer=(
            r"(?:Your job-array )?([1-9][0-9]*)\.1-[0-9]+:1"
            r'(?: \(".*"\) has been submitted\.?)?'
        ),
        task="{array}.{task}",
        task_number=r"\.(\d+)$",
    )

    def header(self, jobname: str, walltime_seconds: Optional[int]) -> List[str]:
        return [
            "-S /bin/bash",
            "-cwd",
            "-V",
            f"-N {letter_first(jobname)}",
            f"-o {SCHEDULER_LOG}",
            "-j y",
            "-r n",
            "-notify",
        ]

    def directive(self, key: str, value: str) -> List[str]:
        if key == "j":
            return []  # the job script itself joins its output
        return [f"-{key} {value}".rstrip()]

    def settings(self, directive: str) -> FrozenSet[str]:
        """Of ``-l`` each resource for itself: ``-l a=1,b=2`` sets ``-l a`` and ``-l b``.

        ``-w v`` and ``-w p`` are no jobs (qsub(1)), ``-w e`` and the others are.
        """
        flag, _, value = directive.partition(" ")
        if flag == "-w":
            return frozenset({"-w", directive})
        if flag != "-l":
            return frozenset({flag})
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
        held = ["-hold_jid", after] if after else []
        return ["qsub", "-terse", *options, *held, *self.output(script.parent), str(script)]

    def output(self, run: Path) -> List[str]:
        """In ``-o`` and in the working folder a few names after a ``$`` are replaced (qsub(1), -o),
        and nothing quotes them: there the job begins elsewhere, and the scheduler's words go."""
        return ["-wd", "/", "-o", "/dev/null"] if _VARIABLE.search(str(run)) else []

    def output_warning(self, run: Path) -> Optional[str]:
        found = _VARIABLE.search(str(run))
        if found is None:
            return None
        return (
            f"out: {run}: Grid Engine puts a value in the place of {found[0]}: "
            f"there will be no {SCHEDULER_LOG}"
        )

    def parse_submitted(self, stdout: str) -> Submitted:
        """``-terse``: the number alone; a qsub that does not know it says a sentence."""
        try:
            sentence = r'Your job ([1-9][0-9]*) \(".*"\) has been submitted\.?'
            return Submitted(*only_line(sentence, stdout))
        except Unreadable:
            return Submitted(*only_line(r"([1-9][0-9]*)", stdout))

    def cluster_asked(self, lines: Sequence[str]) -> str:
        return ""

    def home(self) -> List[str]:
        """Which host the scheduler of this cell is active on (qconf(1))."""
        return ["qconf", "-sss"]

    def parse_home(self, stdout: str) -> str:
        lines = stdout.split()
        return lines[-1] if lines else ""

    def elsewhere(self, cluster: str, home: str) -> str:
        return ""

    def states(self, user: str, cluster: str = "") -> List[List[str]]:
        return [["qstat", "-xml", "-u", account(user)]]

    def working(self, user: str, cluster: str = "") -> List[List[str]]:
        return self.states(user)

    def parse_working(self, stdout: str, jobname: str, roots: Sequence[Path]) -> List[str]:
        """By the name: only a question for each single job would tell its folder."""
        from xml.etree import ElementTree

        try:
            jobs = ElementTree.fromstring(stdout).iter("job_list")
        except ElementTree.ParseError as error:
            raise Unreadable(stdout) from error
        name = letter_first(jobname)
        named = [job for job in jobs if job.findtext("JB_name") == name]
        return [
            one
            for job in named
            for one in _ids(job.findtext("JB_job_number", ""), job.findtext("tasks"))
        ]

    def listed_as(self, job_id: str) -> str:
        return job_id

    def parse_states(self, stdout: str) -> Dict[str, QueueEntry]:
        from xml.etree import ElementTree

        try:
            root = ElementTree.fromstring(stdout)
        except ElementTree.ParseError as error:
            raise Unreadable(stdout) from error
        entries = {}
        for job in root.iter("job_list"):
            number, state = job.findtext("JB_job_number"), job.findtext("state") or ""
            if not number:
                raise Unreadable(stdout)
            for one in _ids(number, job.findtext("tasks")):
                entries[one] = _entry(one, state)
        return entries

    def cancel(self, ids: Sequence[str], cluster: str = "") -> List[str]:
        return ["qdel", ",".join(ids)]

    def warn(self, job_id: str, cluster: str = "") -> List[str]:
        """Its jobs are submitted with ``-notify``: qdel gives them USR2, and so many seconds as
        the queue's ``notify`` says, before it kills them."""
        return ["qdel", job_id]

    def ending(self, job_id: str, cluster: str = "") -> List[str]:
        number, _, task = job_id.partition(".")
        return ["qacct", "-j", number, *(["-t", task] if task else [])]

    def parse_ending(self, stdout: str) -> Optional[JobEnd]:
        """The last record: a job that was started again has more than one."""
        codes = re.findall(r"^exit_status +(\d+)", stdout, re.M)
        failed = re.findall(r"^failed +(\d+)(.*)$", stdout, re.M)
        if not codes:
            return None
        words = failed[-1][1].strip(" :") if failed and failed[-1][0] != "0" else ""
        return JobEnd(int(codes[-1]), words)

    def shows_living(self, stdout: str) -> bool:
        """qacct tells of jobs that have ended only."""
        return False

    def nodes_there_are(self, others: Dict[str, str], cluster: str = "") -> Optional[List[str]]:
        return None

    def parse_nodes(self, stdout: str) -> Optional[int]:
        return None


#: sge_status(5); ``P`` (preempted) is Univa's, ``x`` and ``z`` stand for a job that has ended.
_LETTERS = {*"dEhNPqrRsStTwxz"}


def _ids(number: str, tasks: Optional[str]) -> List[str]:
    """The ids of a listed job, of an array those of the tasks that its entry stands for:
    ``2``, or ``5-9:2,12`` where they wait."""
    if not tasks:
        return [number]
    found: List[str] = []
    for part in tasks.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if match is None:
            raise Unreadable(tasks)
        first, last, step = match.groups()
        numbers = range(int(first), int(last or first) + 1, max(1, int(step or 1)))
        found += [f"{number}.{task}" for task in numbers]
    return found


def _entry(number: str, state: str) -> QueueEntry:
    letters = set(state)
    if not letters or letters - _LETTERS:
        return QueueEntry("unknown", f"its state is {state!r}, which is not known")
    if "E" in letters:
        return QueueEntry("queued", f"{state}: see qstat -j {number.partition('.')[0]}")
    if letters & {*"xz"}:
        return QueueEntry("ended")
    if "q" in letters or letters == {"w"}:
        return QueueEntry("queued", "held" if "h" in letters else "")
    if letters & {*"sSTNP"}:
        return QueueEntry("running", "preempted" if "P" in letters else "suspended")
    return QueueEntry("running")


def letter_first(jobname: str) -> str:
    """Grid Engine and PBS refuse job names that begin with a digit."""
    return jobname if jobname[:1].isalpha() else f"j{jobname}"
