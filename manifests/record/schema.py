"""What a run is: the manifest, which host code writes and the trainer in the container reads.

Only the standard library and pydantic may be imported here, and the text must run on the host's
Python (>= 3.9) and on the image's. What comes out of a run is ``manifests/record/outcome.py``.
"""

from __future__ import annotations

import copy
from typing import Any, Dict, List, Mapping, Optional

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from typing_extensions import Literal, Self

from manifests.record.canonical_json import digest_of
from manifests.record.keys import Arch, Communicator, Iterator, LoadType, OptimizerName, Precision
from manifests.record.version import SCHEMA_VERSION


class Record(BaseModel):
    """Unknown fields are kept, so that a newer minor version survives being read and written."""

    model_config = ConfigDict(extra="allow", frozen=True)


# --- identity: what decides the bits --------------------------------------------------------


class Optimizer(Record):
    """Update rule and its schedule; epochs may be fractions.

    ``lr`` is the rate per global batch, or with ``lr_batch`` the rate for a global batch of so
    many samples, from which it is scaled (``rmsprop_warmup`` always scales, by default from 256).
    """

    name: OptimizerName
    lr: float = Field(gt=0)
    lr_batch: Optional[int] = Field(default=None, ge=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0005, ge=0)
    lr_decay_factor: float = Field(default=0.1, gt=0, le=1)
    lr_decay_epochs: float = Field(default=30.0, gt=0)
    warmup_epochs: float = Field(default=0.0, ge=0)


class Training(Record):
    """Every setting that decides the bits of the trained network."""

    arch: Arch
    nclasses: int = Field(ge=1)
    insize: int = Field(ge=1)
    epochs: int = Field(ge=1)
    batchsize: int = Field(ge=1)  # samples per rank and step
    val_batchsize: int = Field(ge=1)
    optimizer: Optimizer
    communicator: Communicator
    precision: Precision
    seed: int = Field(ge=0, lt=2**63)


class FileDigest(Record):
    sha256: str
    size: int
    executable: bool = False


class KeptAsRead(Record):
    """A record that is read from a file is digested, compared and written as it stood there: a
    field that a later version adds is absent from what older versions wrote."""

    _as_read: Optional[Dict[str, Any]] = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _keep(
        cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        record = handler(value)
        if info.mode == "json":
            record._as_read = value
        return record

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> Dict[str, Any]:
        written: Dict[str, Any] = handler(self) if self._as_read is None else self._as_read
        return copy.deepcopy(written)

    def model_copy(self, *, update: Optional[Mapping[str, Any]] = None, deep: bool = False) -> Self:
        """With ``update`` it is no longer what was read."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            copied._as_read = None
        return copied

    def __eq__(self, other: object) -> bool:
        """Whether both are written alike, wherever they come from."""
        if not isinstance(other, type(self)):
            return NotImplemented
        return self.model_dump(mode="json") == other.model_dump(mode="json")


class CodeIdentity(KeptAsRead):
    """``digest`` is :func:`digest_of` over ``files`` (path relative to ``code/`` -> FileDigest).

    Of an identity, ``files`` are those that the ranks import and everything below ``trainer/``; up
    to version 1.2 they were all files of the snapshot.
    """

    digest: str
    files: Dict[str, FileDigest]


class ImageIdentity(Record):
    stack: str
    sha256: str  # of the whole SIF file
    size: int
    lock_sha256: str
    recipe_sha256: str  # of everything that the build reads: lock, definition, build files


class SampleSetIdentity(Record):
    """``sha256`` is that of ``inputs/<name>.tsv``: lines ``<image sha256>\\t<label>\\t<path>\\n``
    in the order of the user's list file, paths relative to the set's root."""

    sha256: str
    samples: int = Field(ge=1)


class ArrayIdentity(Record):
    sha256: str
    shape: List[int]
    dtype: str


class DataIdentity(Record):
    train: SampleSetIdentity
    val: SampleSetIdentity
    mean: ArrayIdentity  # inputs/mean.npy, float32, (3, IMAGE_SIDE, IMAGE_SIDE), RGB order
    initmodel: Optional[str] = None  # sha256 of inputs/initmodel.npz


class World(Record):
    ranks: int = Field(ge=1)
    nodes: int = Field(ge=1)


class Determinism(Record):
    """Knobs that choose algorithms: set by the job script, recorded, checked by the trainer."""

    environment: Dict[str, str]
    mca: Dict[str, str]  # Open MPI parameters, given as ``mpirun --mca KEY VALUE``


def steps_of(epochs: int, samples: int, per_step: int) -> int:
    """Steps of ``per_step`` samples that ``epochs`` take; the last may reach into one epoch more
    (docs/determinism.md)."""
    return -(-epochs * samples // per_step)


class Identity(KeptAsRead):
    """What decides the bits."""

    training: Training
    code: CodeIdentity
    image: ImageIdentity
    data: DataIdentity
    world: World
    determinism: Determinism

    def digest(self) -> str:
        """sha256, hexadecimal: :func:`digest_of` over the identity as it is written."""
        return digest_of(self.model_dump(mode="json"))

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        training = self.training
        per_step = training.batchsize * self.world.ranks
        return steps_of(training.epochs, self.data.train.samples, per_step)


# --- circumstance: what only describes ------------------------------------------------------


class Loading(Record):
    """How samples get into memory; by rule 1 of docs/determinism.md it cannot change a bit."""

    loadtype: LoadType = "original"
    iterator: Iterator = "process"
    loaderjob: int = Field(default=1, ge=1)


class Observing(Record):
    """What is written down on the way; it does not change the parameters."""

    test: bool = False
    trail_interval: int = Field(default=20, ge=1)  # steps between tensor digests


class Checkpointing(Record):
    """When a run writes down its whole state; stopping and resuming does not change the bits."""

    minutes: float = Field(default=10.0, gt=0)  # a checkpoint when so long ago was the last
    interval: Optional[int] = Field(default=None, ge=1)  # and after every so many steps
    kept: int = Field(default=2, ge=1)  # the newest stay
    archive: Optional[int] = Field(default=None, ge=1)  # and so many, spread over the run


class Author(Record):
    """Who is to be named for a run, in the words of its config."""

    name: str
    orcid: Optional[str] = None  # as in 0000-0002-1825-0097
    affiliation: Optional[str] = None


class Resumed(Record):
    """The checkpoint of another run directory with which this one began."""

    run: str
    checkpoint: str  # file name
    sha256: str  # of the whole file
    step: int


class Slice(Record):
    """A rerun of some steps only: it begins with the state after step ``begin`` (0: the one that
    follows from the seed) and ends after step ``end``. It was asked for the steps after ``after``,
    which may lie behind the state."""

    begin: int = Field(ge=0)
    after: int = Field(ge=0)
    end: int = Field(ge=1)


class Emulated(Record):
    """The processor that the ranks of a rerun see, which QEMU emulates (``rerun --emulate``)."""

    model: str  # as QEMU names it
    program: str  # host path of the emulator
    version: str  # of the emulator


class Placement(Record):
    """What the scheduler is asked for."""

    site: str
    jobname: str
    nodetype: Optional[str] = None
    walltime: Optional[str] = None  # hh:mm:ss; None: the site's own, or no end
    group: Optional[str] = None
    stdout: Optional[str] = None
    stderr: Optional[str] = None
    others: Dict[str, str] = Field(default_factory=dict)
    modules: List[str] = Field(default_factory=list)
    scheduler: str = "local"
    submit_options: List[str] = Field(default_factory=list)  # words of its command line
    nodes: Optional[int] = None  # that the ranks lie on; None: the identity's
    processes: Optional[int] = Field(default=None, ge=1)  # that compute the ranks; None: one each
    share_gpus: bool = False  # ranks of a node may work on one GPU; it changes no bit

    def layout(self, world: World) -> World:
        """The processes that compute the ranks of ``world``, as its ``ranks``, and their nodes."""
        return World(ranks=self.processes or world.ranks, nodes=self.nodes or world.nodes)


class GitState(Record):
    commit: Optional[str] = None
    branch: Optional[str] = None
    dirty: bool = False


class Paths(Record):
    """Host paths at the time of writing; a rerun may move them. Packs with ``custom`` only."""

    config: Optional[str] = None
    image: str
    train_root: str
    val_root: str
    train_pack: Optional[str] = None
    val_pack: Optional[str] = None
    out: str


class Circumstance(Record):
    created: str  # UTC, ISO 8601 with a Z
    host: str
    user: str
    tool_version: str
    paths: Paths
    placement: Placement
    loading: Loading
    observing: Observing
    checkpointing: Checkpointing = Field(default_factory=Checkpointing)
    resumed: Optional[Resumed] = None
    git: Optional[GitState] = None
    #: The files of the snapshot that are not in ``identity.code``: documentation, tests, host code.
    #: None up to version 1.2, where the identity has all files.
    other_code: Optional[CodeIdentity] = None
    #: The text of ``.bundleignore``: what its patterns match is not in the snapshot.
    bundleignore: Optional[str] = None
    rerun_of: Optional[str] = None  # path of the run directory that is being repeated
    authors: Optional[List[Author]] = None
    license: Optional[str] = None  # of what the run left: an SPDX identifier, or a URL
    #: What of that run was replaced on purpose: ``code``, ``image``, ``data``, ``KEY=VALUE``.
    swapped: Optional[List[str]] = None
    #: Of a rerun: the steps that it computes; None: all.
    slice: Optional[Slice] = None
    emulated: Optional[Emulated] = None
    #: Of a slice: the step of which it writes down digests layer by layer.
    trace: Optional[int] = Field(default=None, ge=1)


class GpuClass(Record):
    """cuDNN promises the same bits only between GPUs of one class."""

    model: str  # as the driver names it
    capability: str  # compute capability, as in 7.0
    multiprocessors: int

    @property
    def text(self) -> str:
        """What makes a class, for a person; newer versions may add fields that do not."""
        return (
            f"{self.model} (compute capability {self.capability}, "
            f"{self.multiprocessors} multiprocessors)"
        )


class GpuPromise(Record):
    """A run with it has a GPU per rank, one without it none.

    ``classes`` are those that the ranks had when the run was first made; empty where that is not
    known yet: then any GPU of the ``capabilities`` will do.
    """

    driver: str  # the oldest that serves the stack's CUDA
    capabilities: List[str]  # that the stack holds native code for
    classes: List[GpuClass] = Field(default_factory=list)


class Promises(Record):
    """Under which conditions the bits are promised to be the same."""

    level: Literal["bitwise"] = "bitwise"
    cpu_features: List[str] = Field(default_factory=list)  # names as in /proc/cpuinfo
    architecture: str = "x86_64"
    gpu: Optional[GpuPromise] = None


class Recipe(Record):
    """Everything needed to build the image again: text of each build file by its path.

    ``files`` maps the path below the project root (``Singularity.def``,
    ``container/locks/cpu.json``, …) to its UTF-8 text.
    """

    stack: str
    files: Dict[str, str]


class Manifest(Record):
    """``companions`` maps the files written beside the manifest (``config.yaml``, ``job.sh``) to
    their sha256; they decide no bit, but an edited one must not pass for the original."""

    version: str = SCHEMA_VERSION
    kind: Literal["run", "rerun"] = "run"
    identity_digest: str
    identity: Identity
    circumstance: Circumstance
    promises: Promises
    recipe: Recipe
    companions: Dict[str, str] = Field(default_factory=dict)

    def as_written(self) -> Dict[str, Any]:
        """The JSON value of the file.

        A manifest of an older version is read by the trainer in its own snapshot: what is None is
        left out, for that trainer may know the field with a default and without None.
        """
        values = self.model_dump(mode="json")
        if self.version != SCHEMA_VERSION:
            values["circumstance"] = self.circumstance.model_dump(mode="json", exclude_none=True)
            values["promises"] = self.promises.model_dump(mode="json", exclude_none=True)
            return values
        circumstance = values["circumstance"]
        for name in ("swapped", "slice", "trace", "emulated", "authors", "license"):
            if circumstance[name] is None:
                del circumstance[name]
        if self.circumstance.checkpointing.archive is None:
            del circumstance["checkpointing"]["archive"]
        return values
