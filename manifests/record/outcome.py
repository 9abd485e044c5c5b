"""What comes out of a run: trail records, result, failure, stop. The trainer writes them.

As for ``manifests/record/schema.py``, both sides of the container read this text.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from pydantic import Field
from typing_extensions import Literal

from manifests.record.schema import GpuClass, Record
from manifests.record.version import SCHEMA_VERSION


class RankPlace(Record):
    rank: int
    host: str
    local_rank: int


class RankGpu(Record):
    """The GPU that one rank worked on."""

    rank: int
    host: str
    device: int  # CUDA's number among those that the rank saw
    bus: str  # PCI address, as in 0000:3b:00.0
    kind: GpuClass
    memory: int  # bytes
    #: CUDA's, hexadecimal, "" where it tells none. Parts of one card (MIG) have the same address.
    uuid: str = ""

    @property
    def apart(self) -> Tuple[str, str]:
        """What no other GPU of the same node has."""
        return self.bus, self.uuid


class SeenGpus(Record):
    """``nccl`` holds what NCCL reported: version, rings, protocol, as text by name, and the
    variables NCCL_* that are no knobs, as the ranks found them; ``settings`` those of the
    determinism settings that are no environment variables, as Chainer and CuPy say them."""

    driver: str
    ranks: List[RankGpu]
    settings: Dict[str, str] = Field(default_factory=dict)
    nccl: Dict[str, str] = Field(default_factory=dict)


class Observed(Record):
    """What the run saw of its machine, as took effect."""

    started: str
    finished: str
    seconds: float
    versions: Dict[str, str]  # python, numpy, chainer, mpi4py, mpi library, openblas, pillow, …
    cpu_model: str
    cpu_features: List[str]
    environment: Dict[str, str]  # the keys of Determinism.environment, as the trainer found them
    ranks: List[RankPlace]
    resumed_at: List[int] = Field(default_factory=list)  # steps after which a job took over
    gpus: Optional[SeenGpus] = None
    processes: Optional[int] = None  # of the last job; None: one for each rank


class ResultDigests(Record):
    parameters: str  # digest_of(tensors)
    tensors: Dict[str, str]  # parameter name -> tensor digest at the end
    trail: str  # sha256 over the bytes of all trail files, in rank order
    model: str  # sha256 of results/model.npz


class Stretch(Record):
    """The steps after the stretch before, up to ``step`` (manifests.record.states). ``trail`` is
    the digest of their trail records, ``state`` that of the state after ``step``."""

    step: int
    trail: str
    state: str


class Result(Record):
    """``log`` is the sha256 of ``results/log.jsonl``. It is none of ``digests``: the log holds
    times, which differ between equal runs.

    ``states`` are the stretches that the kept states divide the run into, ``root`` is that of
    their tree. Up to version 1.2 there are none; a slice has no root.
    """

    version: str = SCHEMA_VERSION
    kind: Literal["result"] = "result"
    identity_digest: str
    steps: int
    digests: ResultDigests
    metrics: Dict[str, float]  # last row of the log
    not_finite: List[str] = Field(default_factory=list)  # names of metrics that are not
    log: Optional[str] = None
    states: Optional[List[Stretch]] = None
    root: Optional[str] = None
    observed: Observed


class TrailRecord(Record):
    """One line of ``results/trail/rank-NNNNN.jsonl``.

    ``step`` 0 is the state before the first update and has ``parameters`` only (rank 0).
    ``samples`` is the sha256 of the batch's sample indices as little-endian int64; ``loss`` is
    this rank's ``float.hex()``. Tensor digests are those of the tensor's name, dtype, shape and
    bytes; ``gradients`` are taken after the reduction, before the update, ``parameters`` after
    the update; rank 0 only, every ``trail_interval`` steps and at the last.
    """

    step: int
    epoch: Optional[float] = None
    samples: Optional[str] = None
    loss: Optional[str] = None
    gradients: Optional[Dict[str, str]] = None
    parameters: Optional[Dict[str, str]] = None


class Failure(Record):
    """``failure.json``: the message of the rank that failed first, for the person to read."""

    version: str = SCHEMA_VERSION
    kind: Literal["failure"] = "failure"
    rank: int
    step: Optional[int] = None
    message: str
    next_step: str
    exit_code: int = 2
    #: This machine cannot give the bits that the manifest promises; nothing was trained.
    cannot_promise: bool = False


class Stop(Record):
    """``stopped.json``: the run was asked to end early and can be resumed."""

    version: str = SCHEMA_VERSION
    kind: Literal["stop"] = "stop"
    reason: Literal["signal", "walltime"]
    step: int  # steps done
    steps: int  # steps of the whole run
    checkpoint: str  # file name in results/checkpoints
