"""Every file name of a run directory; shared by both sides of the container."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import List, Optional, Tuple


class _Below:
    """A path below the run directory; one that is assigned to an instance goes before it."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __set_name__(self, owner: object, name: str) -> None:
        self._name = name

    def __get__(self, files: Optional[RunFiles], owner: object) -> Path:
        if files is None:
            return Path(*self._parts)
        path = files.root.joinpath(*self._parts)
        files.__dict__[self._name] = path
        return path


class RunFiles:
    """Nobody else spells one of these.

    A path is made when it is asked for: who lists thousands of runs asks for few of each.
    """

    manifest = _Below("manifest.json")
    outline = _Below("outline.json")  # of the manifest, for those who list many runs
    labels = _Below("labels.json")  # what a person says of the run, whenever that is
    config = _Below("config.yaml")  # verbatim what the user gave
    code = _Below("code")
    inputs = _Below("inputs")
    train_table = _Below("inputs", "train.tsv")
    val_table = _Below("inputs", "val.tsv")
    mean = _Below("inputs", "mean.npy")
    initmodel = _Below("inputs", "initmodel.npz")
    job_script = _Below("job.sh")
    job = _Below("job.json")  # what the scheduler called it
    submitting = _Below("submitting")  # while it is not known what the scheduler called it
    logs = _Below("logs")
    results = _Below("results")
    trail = _Below("results", "trail")
    trace = _Below("results", "trace")  # of one step, layer by layer
    log = _Below("results", "log.jsonl")
    states = _Below("results", "states.json")  # digests of the states in checkpoints/
    model = _Below("results", "model.npz")
    checkpoints = _Below("results", "checkpoints")
    result = _Below("result.json")
    failure = _Below("failure.json")
    stopped = _Below("stopped.json")
    cancelled = _Below("cancelled.json")  # by a person
    ready = _Below("ready")  # all ranks take the warning signal; the job script waits for it
    exit_code = _Below("exit_code")
    interrupted = _Below("interrupted")  # how ranks ended that were ended from outside
    done = _Below("DONE")
    allocation = _Below("allocation.json")  # of a job that only looks at its nodes
    verdict = _Below("verdict.json")
    cpuinfo = _Below("cpuinfo")  # of a processor that is emulated, as /proc/cpuinfo
    plot = _Below("plot.png")  # drawn from the log, by whom and when it is wanted
    report = _Below("report.html")  # a page on the run; nothing is ever read from it
    readme = _Below("README.md")  # what this folder is, and how to run it again
    # What travels with an exported run, and serves it where nothing else does.
    export = _Below("export.json")  # what the export holds
    sums = _Below("SHA256SUMS")  # of its files
    image = _Below("image.sif")
    packages = _Below("packages")  # that the image is built from
    data = _Below("data")  # the images of its samples, or packed files
    verdicts = _Below("verdicts")  # of its reruns, by the names of their directories
    statements = _Below("statements")  # signed, of this run's and of other sites

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def names(cls) -> List[Path]:
        """All of them, below the run directory."""
        found = [getattr(cls, name) for name, value in vars(cls).items() if type(value) is _Below]
        return [path for path in found if isinstance(path, Path)]

    def with_script(self, script: Path) -> RunFiles:
        """The same run with a job script of another job."""
        files = RunFiles(self.root)
        files.__dict__["job_script"] = script
        return files

    def script_for(self, processes: int, nodes: int) -> Path:
        """The job script of jobs with other processes than the run was submitted for."""
        return self.root / f"job-{processes}-on-{nodes}.sh"

    @property
    def of_first_rank(self) -> Tuple[Path, ...]:
        """What rank 0 alone writes, whole or not at all, checkpoints apart."""
        return (self.ready, self.model, self.result, self.stopped)

    @property
    def of_any_job(self) -> Tuple[Path, ...]:
        """What a job and its start write, whole or not at all, checkpoints apart."""
        return (*self.of_first_rank, self.failure, self.exit_code, self.job, self.submitting)

    @property
    def train_images(self) -> Path:
        """The images of the training set that travel with the run, by the paths of its table."""
        return self.data / "train"

    @property
    def val_images(self) -> Path:
        return self.data / "val"

    @property
    def train_pack(self) -> Path:
        return self.data / "train.pack"

    @property
    def val_pack(self) -> Path:
        return self.data / "val.pack"

    def trail_of(self, rank: int) -> Path:
        return self.trail / f"rank-{rank:05d}.jsonl"

    def trace_of(self, rank: int) -> Path:
        return self.trace / f"rank-{rank:05d}.jsonl"


#: What mkstemp adds to a prefix.
_RANDOM = re.compile(r"[a-z0-9_]{8}")


def temporary_prefix(target: Path) -> str:
    """How the names begin under which ``target`` is written first, on both sides."""
    return f".{target.name}."


def temporaries(target: Path) -> List[Path]:
    """The files that writers of ``target`` have under way, or left when they were killed."""
    prefix = temporary_prefix(target)
    found = target.parent.glob(f"{glob.escape(prefix)}*")
    return sorted(path for path in found if _RANDOM.fullmatch(path.name[len(prefix) :]))
