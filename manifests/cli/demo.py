"""The whole tool on handwritten digits: build, train, rerun, compare, check a slice"""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from container import atomic
from container.image import Image
from container.shell_word import shell_word
from manifests.cli.command_line import called
from manifests.cli.interrupted import in_foreground
from manifests.cli.plot import plot_at_the_end
from manifests.datasets.digits import make_digits
from manifests.flows.gathering import Gathering
from manifests.flows.judgement import judge
from manifests.flows.plan import Plan, write_run
from manifests.flows.rerun import plan_rerun
from manifests.flows.slices import plan_slices, write_slices
from manifests.flows.start import start_new
from manifests.flows.submit import plan_submit
from manifests.host.context import HostContext
from manifests.host.image_source import build_stack
from manifests.record.run_files import RunFiles
from manifests.record.slice_set import SliceOptions
from manifests.report.write import report_at_the_end
from manifests.rundir.known_outs import remember_out
from manifests.rundir.records import read_result
from manifests.verdict.compare import exit_code, lines
from manifests.verdict.comparison import Comparison

#: Small enough for two cores: inputs of 67 pixels instead of the network's 227.
CONFIG = """\
# Network in Network on 8-class handwritten digits, 2 ranks on this machine.
# Every key: docs/configuration.md
jobname: digits
stack: cpu
site: local
nnodes: 1
ranks_per_node: 2

arch: nin
nclasses: 8
insize: 67
epoch: 7
batchsize: 8
val_batchsize: 64
seed: 0
optimizer: momentum_sgd
lr: 0.0125
lr_decay_epochs: 1
lr_decay_factor: 0.8
warmup_epochs: 1
weight_decay: 0.0001
communicator: naive

train: data/train.txt
val: data/val.txt
mean.npy: data/mean.npy
loadtype: original
iterator: process
loaderjob: 1
trail_interval: 10
checkpoint_archive: 3

out: runs
"""


Say = Callable[[str], None]


class Steps:
    """Names the demo's steps as they begin and keeps their wall-clock seconds."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.seconds: Dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.say(f"\n== {name}")
        begun = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begun


def run_demo(
    folder: Path,
    host: HostContext,
    *,
    mirror: Optional[str],
    say: Say,
    wait: Callable[[RunFiles, HostContext], int],
) -> int:
    """Build, make data, train, rerun, compare, check a slice below ``folder``; return the exit code
    of the last verdict.

    What is already there (image, data set, a config that the user edited) is used as it is.
    """
    steps = Steps(say)
    with steps.step("build the image of stack cpu from its lock"):
        image = build_stack("cpu", host, mirror=mirror, output=None)
        say(f"{'built' if image.fresh else 'up to date'}: {image.path}")
    with steps.step("make a data set of handwritten digits"):
        config = prepare_demo(folder, host)
        say(f"config {config}")
    with steps.step("submit: train 2 ranks under mpirun singularity exec"):
        first, code = trained(plan_submit(config, host), host, say, wait)
        picture = plot_at_the_end(first, host.cache.matplotlib, warner(say))
        if picture:
            say(f"plot {picture}")
    if code != 0:
        return code
    with steps.step("rerun: the same snapshot, config and image again"):
        second, _ = trained(plan_rerun(first.root, host), host, say, wait)
    with steps.step("compare"):
        comparison = judge(first.root, second)
        for line in lines(comparison):
            say(called(line))
        page = report_at_the_end(second, host, warner(say))
        if page:
            say(f"report {page}")
    sampled = None
    if comparison.verdict == "identical" and read_result(first).states:
        with steps.step("slice: a quarter of the steps alone, drawn at random, from a kept state"):
            sampled = check_slice(first, host, say)
    if second.result.exists():
        say("")
        for line in closing_lines(image, first, second, steps.seconds):
            say(line)
    return exit_code((sampled or comparison).verdict)


def check_slice(run: RunFiles, host: HostContext, say: Say) -> Comparison:
    """One of the slices that the run's states allow, run again and compared."""
    plan = plan_slices(run.root, host, SliceOptions(), sample=1, seed="demo")
    for text in plan.notes:
        say(text)
    gathering = Gathering(write_slices(plan).root, host, say)
    with in_foreground(gathering.runs, host, str(plan.files.root)):
        verdict = gathering.wait()
    for line in lines(verdict):
        say(line)
    again = f"python bundle.py rerun {shell_word(run.root)} --slices {plan.record.of}"
    say(called(f"all of them: {again}"))
    return verdict


def prepare_demo(folder: Path, host: HostContext) -> Path:
    """Make the data set and the config below ``folder`` where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data" / "mean.npy").exists():
        make_digits(folder / "data", progress=host.progress)
    config = folder / "config.yaml"
    if not config.exists():
        atomic.write_bytes(config, CONFIG.encode("utf-8"))
    return config


def warner(say: Say) -> Say:
    return lambda text: say(f"warning: {text}")


def trained(
    plan: Plan, host: HostContext, say: Say, wait: Callable[[RunFiles, HostContext], int]
) -> Tuple[RunFiles, int]:
    """The run, and how its job ended."""
    for warning in plan.warnings:
        warner(say)(warning)
    files = write_run(plan)
    with in_foreground([files], host):
        job = start_new(files, host)
        remember_out(host.cache, files.root.parent, warner(say))
        say(f"run {files.root} (job {job.id})")
        return files, wait(files, host)


def closing_lines(
    image: Image, first: RunFiles, second: RunFiles, seconds: Dict[str, float]
) -> List[str]:
    """The digests to compare by eye, where the runs lie, and what each step took."""
    results = [read_result(files) for files in (first, second)]
    metrics = results[0].metrics
    return [
        f"image       {image.sha256}",
        f"parameters  {results[0].digests.parameters}  (run)",
        f"            {results[1].digests.parameters}  (rerun)",
        f"accuracy    {metrics['validation/main/accuracy']:.4f} on the validation set, "
        f"top-5 {metrics['validation/main/accuracy_top5']:.4f}",
        f"run         {first.root}",
        f"rerun       {second.root}",
        "seconds     "
        + ", ".join(
            f"{name.split(':')[0].split(' ')[0]} {value:.1f}" for name, value in seconds.items()
        ),
    ]
