"""RunConfig: every key of a config file, resolved, and its translation into the schema's parts.

A field's ``description`` is the text that messages give after "expected"; its default is the
documented default. Reading files is :mod:`manifests.config.config_file`'s work.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from typing_extensions import Annotated

from container.stack_names import DEFAULT_STACK
from manifests.config.authors import EXPECTED_AUTHORS
from manifests.config.determinism import has_gpus
from manifests.record.keys import (
    INPUT_SIDE,
    Arch,
    Communicator,
    Iterator,
    LoadType,
    OptimizerName,
    Precision,
    values_of,
)
from manifests.record.packed_file import beside
from manifests.record.schema import (
    Author,
    Checkpointing,
    Loading,
    Observing,
    Optimizer,
    Placement,
    Training,
)

#: Values of ``lr`` where the config gives none: a common choice for momentum SGD at a global
#: batch of 256, Chainer's own defaults for Adam and RMSprop, 0.1 per 256 samples for
#: ``rmsprop_warmup`` (Akiba et al. 2017).
DEFAULT_LR: Dict[str, float] = {
    "momentum_sgd": 0.01,
    "adam": 0.001,
    "rmsprop": 0.01,
    "rmsprop_warmup": 0.1,
}

#: More is a slip of the finger; the steps of a run must stay a number that can be counted.
MOST_EPOCHS = 10**6

_NO_CONTROL = r"^[^\x00-\x1f\x7f]+$"


def default_jobname(where: str) -> str:
    """A scheduler-safe job name from a config's file name; ``run`` where nothing is left of it."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(where).stem).strip("-._")
    return kept[:64] or "run"


def _host_path(value: Any, info: ValidationInfo) -> Any:
    """Make a config's path absolute: relative to the config's folder, ``~/`` to the home."""
    if not isinstance(value, str):
        return value
    if re.match(_NO_CONTROL, value) is None or value != value.strip():
        raise ValueError("an empty path or one with control characters or outer white space")
    context: Dict[str, Optional[Path]] = info.context or {}
    path = expanded(value, context.get("home"))
    return Path(os.path.normpath((context.get("folder") or Path("/")) / path))


def expanded(text: str, home: Optional[Path]) -> Path:
    """``~`` and ``~/…`` with the home folder in their place; other texts as they are.

    Raises NotExpanded where there is no home folder, and for ``~name``.
    """
    first, _, rest = text.partition("/")
    if not first.startswith("~"):
        return Path(text)
    if first != "~":
        raise NotExpanded(f"write {first} as a whole path: only ~/ is expanded")
    if home is None:
        raise NotExpanded("write the whole path: HOME is not set, so ~/ means nothing here")
    return home / rest


class NotExpanded(ValueError):
    """A path that begins with ``~`` and cannot be expanded; the text says what to write."""


def _directive_value(value: Any) -> Any:
    """A directive without a value is ``null`` in the file, a whole number is its digits."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _plain_name(value: str) -> str:
    """The job's output lies in the run's ``logs/`` and nowhere else."""
    if "/" in value or value in (".", ".."):
        raise ValueError("no plain file name")
    return value


def _some_time(value: str) -> str:
    if not value.strip("0:"):
        raise ValueError("no time at all")
    return value


HostPath = Annotated[Path, BeforeValidator(_host_path)]
Text = Annotated[str, Field(pattern=_NO_CONTROL)]
LogName = Annotated[Text, AfterValidator(_plain_name)]
DirectiveValue = Annotated[
    str,
    BeforeValidator(_directive_value),
    Field(pattern=r"^[^\x00-\x1f\x7f]*$", description="text, a whole number or null"),
]


Walltime = Annotated[
    str, Field(pattern=r"^[0-9]{1,4}:[0-5][0-9]:[0-5][0-9]$"), AfterValidator(_some_time)
]

_LOG_NAME = "a file name without a folder (it lies in the run's logs/), or null"


def _one_of(key_type: Any) -> str:
    return f"one of {', '.join(values_of(key_type))}"


def _from_optimizer(name: str) -> Any:
    return Optimizer.model_fields[name].default


class RunConfig(BaseModel):
    """What one run is asked to be; paths are absolute, every default is filled in."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False
    )

    # what is trained
    arch: Arch = Field(description=_one_of(Arch))
    nclasses: int = Field(ge=1, description="a whole number >= 1")
    insize: int = Field(
        ge=1,
        default_factory=lambda known: INPUT_SIDE[known["arch"]][1],
        description="a whole number >= 1 (pixels)",
    )
    epoch: int = Field(ge=1, le=MOST_EPOCHS, description="a whole number from 1 to 1000000")
    batchsize: int = Field(ge=1, description="a whole number >= 1 (samples per rank)")
    val_batchsize: int = Field(
        ge=1,
        default_factory=lambda known: known["batchsize"],
        description="a whole number >= 1 (samples per rank)",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="a whole number from 0 to 2^63 - 1")
    precision: Precision = Field("float32", description=_one_of(Precision))

    # how it learns
    optimizer: OptimizerName = Field("momentum_sgd", description=_one_of(OptimizerName))
    lr: float = Field(
        gt=0,
        default_factory=lambda known: DEFAULT_LR[known["optimizer"]],
        description="a number > 0",
    )
    lr_batch: Optional[int] = Field(
        None, ge=1, description="a whole number >= 1 (samples per step), or null"
    )
    momentum: float = Field(
        _from_optimizer("momentum"), ge=0, lt=1, description="a number >= 0 and < 1"
    )
    weight_decay: float = Field(_from_optimizer("weight_decay"), ge=0, description="a number >= 0")
    lr_decay_factor: float = Field(
        _from_optimizer("lr_decay_factor"), gt=0, le=1, description="a number > 0 and <= 1"
    )
    lr_decay_epochs: float = Field(
        _from_optimizer("lr_decay_epochs"), gt=0, description="a number > 0 (epochs)"
    )
    warmup_epochs: float = Field(
        _from_optimizer("warmup_epochs"), ge=0, description="a number >= 0 (epochs)"
    )

    # from what
    train: HostPath = Field(description="the path of a list file")
    train_root: HostPath = Field(
        default_factory=lambda known: known["train"].parent, description="the path of a folder"
    )
    val: HostPath = Field(description="the path of a list file")
    val_root: HostPath = Field(
        default_factory=lambda known: known["val"].parent, description="the path of a folder"
    )
    train_pack: HostPath = Field(
        default_factory=lambda known: beside(known["train"]), description="the path of a file"
    )
    val_pack: HostPath = Field(
        default_factory=lambda known: beside(known["val"]), description="the path of a file"
    )
    mean: HostPath = Field(alias="mean.npy", description="the path of a .npy file")
    initmodel: Optional[HostPath] = Field(None, description="the path of a model file, or null")
    resume: Optional[HostPath] = Field(
        None, description="the path of a checkpoint or a run directory, or null"
    )

    # into what
    out: HostPath = Field(description="the path of a folder")
    test: bool = Field(False, description="true, false or null")
    trail_interval: int = Field(
        Observing().trail_interval, ge=1, description="a whole number >= 1 (steps)"
    )
    snapshot_limit: int = Field(1000, ge=1, description="a whole number >= 1 (MB)")

    checkpoint_minutes: float = Field(
        Checkpointing().minutes, gt=0, description="a number > 0 (minutes)"
    )
    checkpoint_interval: Optional[int] = Field(
        None, ge=1, description="a whole number >= 1 (steps), or null"
    )
    checkpoints_kept: int = Field(Checkpointing().kept, ge=1, description="a whole number >= 1")
    checkpoint_archive: Optional[int] = Field(
        None, ge=1, description="a whole number >= 1 (states), or null"
    )

    # by whom
    authors: List[Author] = Field(default_factory=list, description=EXPECTED_AUTHORS)
    license: Optional[str] = Field(
        None,
        pattern=r"^([A-Za-z0-9][A-Za-z0-9.+-]*|https?://[^\s\x00-\x1f\x7f]+)$",
        description="an SPDX identifier, such as CC-BY-4.0, or a URL, or null",
    )

    # by what
    stack: str = Field(
        DEFAULT_STACK,
        pattern=r"^[a-z0-9][a-z0-9_.-]*$",
        description="the name of a stack: cuda12, or cpu",
    )
    communicator: Communicator = Field(
        default_factory=lambda known: "pure_nccl" if has_gpus(known["stack"]) else "naive",
        description=_one_of(Communicator),
    )
    loadtype: LoadType = Field("original", description=_one_of(LoadType))
    iterator: Iterator = Field("process", description=_one_of(Iterator))
    loaderjob: int = Field(1, ge=1, description="a whole number >= 1")

    # where
    site: Text = Field("local", description="the name of a site, such as local")
    group: Optional[Text] = Field(None, description="text without control characters, or null")
    jobname: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="up to 64 letters, digits, dots, dashes and underscores, "
        "the first one a letter or a digit",
    )
    nnodetype: Optional[Text] = Field(None, description="the name of a node type, or null")
    nnodes: int = Field(1, ge=1, description="a whole number >= 1")
    ranks_per_node: Optional[int] = Field(None, ge=1, description="a whole number >= 1, or null")
    processes: Optional[int] = Field(None, ge=1, description="a whole number >= 1, or null")
    share_gpus: bool = Field(False, description="true, false or null")
    walltime: Optional[Walltime] = Field(
        None, description="hours, minutes and seconds as hh:mm:ss, or null"
    )
    stdout: Optional[LogName] = Field(None, description=_LOG_NAME)
    stderr: Optional[LogName] = Field(None, description=_LOG_NAME)
    others: Dict[Text, DirectiveValue] = Field(
        default_factory=dict, description="a mapping of directive to value"
    )
    modules: List[Text] = Field(
        default_factory=list, description="the path of a file, or a mapping of name to module"
    )


def training(config: RunConfig) -> Training:
    """The settings that decide the bits of the trained network."""
    return Training(
        arch=config.arch,
        nclasses=config.nclasses,
        insize=config.insize,
        epochs=config.epoch,
        batchsize=config.batchsize,
        val_batchsize=config.val_batchsize,
        optimizer=Optimizer(
            name=config.optimizer,
            lr=config.lr,
            lr_batch=config.lr_batch,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            lr_decay_factor=config.lr_decay_factor,
            lr_decay_epochs=config.lr_decay_epochs,
            warmup_epochs=config.warmup_epochs,
        ),
        communicator=config.communicator,
        precision=config.precision,
        seed=config.seed,
    )


def placement(config: RunConfig) -> Placement:
    """What the scheduler is asked for, the number of nodes aside (see World)."""
    return Placement(
        site=config.site,
        jobname=config.jobname,
        nodetype=config.nnodetype,
        walltime=config.walltime,
        group=config.group,
        stdout=config.stdout,
        stderr=config.stderr,
        others=dict(config.others),
        modules=list(config.modules),
        share_gpus=config.share_gpus,
    )


def loading(config: RunConfig) -> Loading:
    return Loading(loadtype=config.loadtype, iterator=config.iterator, loaderjob=config.loaderjob)


def observing(config: RunConfig) -> Observing:
    return Observing(test=config.test, trail_interval=config.trail_interval)


def checkpointing(config: RunConfig) -> Checkpointing:
    return Checkpointing(
        minutes=config.checkpoint_minutes,
        interval=config.checkpoint_interval,
        kept=config.checkpoints_kept,
        archive=config.checkpoint_archive,
    )
