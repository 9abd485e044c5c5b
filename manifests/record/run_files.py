"""Every file name of a run directory; shared by both sides of the container."""

from __future__ import annotations

from pathlib import Path


class RunFiles:
    """Nobody else spells one of these."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = root / "manifest.json"
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
        self.model = self.results / "model.npz"
        self.checkpoints = self.results / "checkpoints"
        self.result = root / "result.json"
        self.failure = root / "failure.json"
        self.stopped = root / "stopped.json"
        self.ready = (
            root / "ready"
        )  # all ranks take the warning signal; the job script waits for it
        self.exit_code = root / "exit_code"
        self.done = root / "DONE"
        self.allocation = root / "allocation.json"  # of a job that only looks at its nodes
        self.verdict = root / "verdict.json"
        self.plot = root / "plot.png"  # drawn from the log, by whom and when it is wanted

    def trail_of(self, rank: int) -> Path:
        return self.trail / f"rank-{rank:05d}.jsonl"
