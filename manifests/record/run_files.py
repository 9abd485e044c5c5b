"""Every file name of a run directory; shared by both sides of the container."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import List, Tuple


class RunFiles:
    """Nobody else spells one of these."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = root / "manifest.json"
        self.outline = root / "outline.json"  # of the manifest, for those who list many runs
        self.labels = root / "labels.json"  # what a person says of the run, whenever that is
        self.config = root / "config.yaml"  # verbatim what the user gave
        self.code = root / "code"
        self.inputs = root / "inputs"
        self.train_table = self.inputs / "train.tsv"
        self.val_table = self.inputs / "val.tsv"
        self.mean = self.inputs / "mean.npy"
        self.initmodel = self.inputs / "initmodel.npz"
        self.job_script = root / "job.sh"
        self.job = root / "job.json"  # what the scheduler called it
        self.submitting = root / "submitting"  # while it is not known what the scheduler called it
        self.logs = root / "logs"
        self.results = root / "results"
        self.trail = self.results / "trail"
        self.log = self.results / "log.jsonl"
        self.states = self.results / "states.json"  # digests of the states in checkpoints/
        self.model = self.results / "model.npz"
        self.checkpoints = self.results / "checkpoints"
        self.result = root / "result.json"
        self.failure = root / "failure.json"
        self.stopped = root / "stopped.json"
        self.cancelled = root / "cancelled.json"  # by a person
        self.ready = (
            root / "ready"
        )  # all ranks take the warning signal; the job script waits for it
        self.exit_code = root / "exit_code"
        self.interrupted = root / "interrupted"  # how ranks ended that were ended from outside
        self.done = root / "DONE"
        self.allocation = root / "allocation.json"  # of a job that only looks at its nodes
        self.verdict = root / "verdict.json"
        self.plot = root / "plot.png"  # drawn from the log, by whom and when it is wanted
        self.report = root / "report.html"  # a page on the run; nothing is ever read from it
        self.readme = root / "README.md"  # what this folder is, and how to run it again
        # What travels with an exported run, and serves it where nothing else does.
        self.export = root / "export.json"  # what the export holds
        self.sums = root / "SHA256SUMS"  # of its files
        self.image = root / "image.sif"
        self.packages = root / "packages"  # that the image is built from
        self.data = root / "data"  # the images of its samples, or packed files
        self.verdicts = root / "verdicts"  # of its reruns, by the names of their directories
        self.statements = root / "statements"  # signed, of this run's and of other sites

    def with_script(self, script: Path) -> RunFiles:
        """The same run with a job script of another job."""
        files = RunFiles(self.root)
        files.job_script = script
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
