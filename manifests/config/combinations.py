"""Which settings cannot work together, on a stack, a site, or a set of data."""

from __future__ import annotations

from typing import List, Optional

from container.nearest import nearest
from manifests.config.determinism import KNOBS, has_gpus
from manifests.config.run_config import RunConfig
from manifests.record.communicators import COMMUNICATOR_KINDS, counted
from manifests.record.keys import IMAGE_SIDE, INPUT_SIDE
from manifests.record.schema import Loading


def _stack_problems(config: RunConfig) -> List[str]:
    problems = []
    if config.stack not in KNOBS:
        near = nearest(config.stack, KNOBS)
        problems.append(f"stack: no stack {config.stack!r}; available: {', '.join(KNOBS)}{near}")
    if has_gpus(config.stack):
        return problems
    if COMMUNICATOR_KINDS[config.communicator].needs_gpus:
        problems.append(
            f"communicator: {config.communicator} reduces between GPUs and the stack "
            f"{config.stack} has none; use naive"
        )
    if config.precision == "mixed":
        problems.append(
            f"precision: mixed needs GPUs and the stack {config.stack} has none; use float32"
        )
    return problems


def _node_problems(config: RunConfig) -> List[str]:
    problems = []
    if COMMUNICATOR_KINDS[config.communicator].one_node and config.nnodes > 1:
        problems.append(
            f"communicator: {config.communicator} works on one node, nnodes is {config.nnodes}; "
            "use nnodes 1 or another communicator"
        )
    return problems


def _sharing_problems(config: RunConfig) -> List[str]:
    if not config.share_gpus or config.stack not in KNOBS:
        return []
    if not has_gpus(config.stack):
        return [f"share_gpus: the stack {config.stack} has no GPUs; leave it out"]
    if COMMUNICATOR_KINDS[config.communicator].host_memory:
        return []
    able = [name for name, kind in COMMUNICATOR_KINDS.items() if kind.host_memory]
    return [
        f"share_gpus: {config.communicator} uses NCCL, which refuses two ranks on one GPU; "
        f"use {' or '.join(able)}"
    ]


def _optimizer_problems(config: RunConfig) -> List[str]:
    """Settings that the chosen update rule would pass over in silence."""
    unused = {
        "adam": ["momentum"],
        "rmsprop": ["momentum"],
        "rmsprop_warmup": ["lr_decay_factor", "lr_decay_epochs", "warmup_epochs"],
    }.get(config.optimizer, [])
    return [
        f"{key}: {config.optimizer} does not use it; leave it out"
        for key in unused
        if key in config.model_fields_set
    ]


def _loading_problems(config: RunConfig) -> List[str]:
    return [
        f"{key}: loadtype {config.loadtype} does not use it; leave it out"
        for key in ("train_pack", "val_pack")
        if config.loadtype != "custom" and key in config.model_fields_set
    ]


def _input_problems(config: RunConfig) -> List[str]:
    smallest, own = INPUT_SIDE[config.arch]
    if smallest == own and config.insize != own:
        return [f"insize: {config.insize} given, {config.arch} works with {own} only"]
    if config.insize < smallest:
        return [f"insize: {config.insize} given, {config.arch} needs at least {smallest}"]
    if config.insize > IMAGE_SIDE:
        return [f"insize: {config.insize} given, the stored images have {IMAGE_SIDE}"]
    return []


def _sample_problems(
    config: RunConfig, ranks: int, train_samples: Optional[int], val_samples: Optional[int]
) -> List[str]:
    problems = []
    step = ranks * config.batchsize
    if train_samples is not None and step > train_samples:
        problems.append(
            f"batchsize: {ranks} ranks x {config.batchsize} are {step} samples per step, "
            f"the training set has {train_samples}; use fewer ranks or a smaller batchsize"
        )
    if val_samples is not None and ranks > val_samples:
        problems.append(
            f"val: the validation set has {val_samples} sample{'s' * (val_samples != 1)} for "
            f"{ranks} ranks; use fewer ranks or more samples"
        )
    return problems


def _hosting_problems(config: RunConfig, ranks: int) -> List[str]:
    """Fewer processes than ranks where the order of the sums is NCCL's."""
    kind = COMMUNICATOR_KINDS[config.communicator]
    hosted = config.processes is not None and config.processes < ranks
    if not hosted or kind.can_be_hosted(with_gpus=has_gpus(config.stack)):
        return []
    return [
        f"processes: {config.processes} asked for {ranks} ranks, and communicator "
        f"{config.communicator} adds by NCCL in an order of its own; use communicator ordered, "
        "flat or naive, or leave processes out"
    ]


def loader_warnings(
    loading: Loading, ranks: int, cores: Optional[int], noun: str = "rank"
) -> List[str]:
    """Whether one node with ``ranks`` ranks, or processes by the ``noun``, gets more loaders than
    it has cores (None: unknown)."""
    if cores is None or loading.iterator == "serial":
        return []
    loaders = ranks * loading.loaderjob
    if loaders <= cores:
        return []
    many = counted(2, noun).partition(" ")[2]
    kind = "threads" if loading.iterator == "thread" else "processes"
    remedy = f"loaderjob {cores // ranks}" if cores >= ranks else f"fewer {many} or iterator serial"
    return [
        f"loaderjob: {counted(ranks, noun)} x {loading.loaderjob} are "
        f"{loaders} loader {kind} on a node of {cores} {'core' if cores == 1 else 'cores'}: they "
        f"take turns, which makes the run slower and changes no bit; use {remedy}"
    ]


def check_combinations(
    config: RunConfig,
    *,
    limits: List[str],
    ranks: int,
    train_samples: Optional[int],
    val_samples: Optional[int],
) -> List[str]:
    """Every reason why this config cannot run, each ``key: reason; what to do``.

    ``limits`` is what the site does not allow, ``ranks`` the number of ranks in all; the
    numbers of samples are None where the list files have not been read.
    """
    known = config.stack in KNOBS
    problems = [
        *_stack_problems(config),
        *limits,
        *_node_problems(config),
        *_sharing_problems(config),
        *_optimizer_problems(config),
        *_loading_problems(config),
        *_input_problems(config),
        *_sample_problems(config, ranks, train_samples, val_samples),
        *_hosting_problems(config, ranks),
    ]
    # The communicator's default follows the stack: of a wrong stack it says nothing.
    return (
        problems if known else [text for text in problems if not text.startswith("communicator:")]
    )
