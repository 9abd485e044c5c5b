"""What a run is: the manifest, which host code writes and the trainer in the container reads.

Only the standard library and pydantic may be imported here, and the text must run on the host's
Python (>= 3.9) and on the image's. What comes out of a run is ``manifests/record/outcome.py``.

Versioning: an unknown major version is an error, an unknown minor version is read with its extra
fields kept (:func:`check_version`).
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import PurePosixPath
from typing import Any, Dict, List, Mapping, Optional, Tuple, get_args

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

from manifests.record.run_files import RunFiles as RunFiles

SCHEMA_VERSION = "1.3"

# --- where things lie inside the container --------------------------------------------------

CODE_MOUNT = PurePosixPath("/bundle/code")
RUN_MOUNT = PurePosixPath("/bundle/run")
TRAIN_MOUNT = PurePosixPath("/bundle/data/train")
VAL_MOUNT = PurePosixPath("/bundle/data/val")
TRAIN_PACK_MOUNT = PurePosixPath("/bundle/data/train.pack")
VAL_PACK_MOUNT = PurePosixPath("/bundle/data/val.pack")

#: The job script gives the trainer the second (since 1970) at which the job will be ended.
DEADLINE_VARIABLE = "BUNDLE_DEADLINE"

# --- values of the keys ---------------------------------------------------------------------

Arch = Literal["alex", "googlenet", "googlenetbn", "nin", "resnet50"]
Communicator = Literal[
    "pure_nccl", "hierarchical", "two_dimensional", "single_node", "flat", "naive", "ordered"
]
LoadType = Literal["original", "custom"]
Iterator = Literal["serial", "thread", "process"]
OptimizerName = Literal["momentum_sgd", "adam", "rmsprop_warmup", "rmsprop"]
Precision = Literal["float32", "mixed"]


def values_of(key_type: Any) -> Tuple[str, ...]:
    """The legal values of one of the types above, in their order."""
    return get_args(key_type)


#: (smallest, paper's own) side of the square input in pixels, per network.
INPUT_SIDE: Dict[str, Tuple[int, int]] = {
    "alex": (227, 227),
    "googlenet": (224, 224),
    "googlenetbn": (224, 224),
    "nin": (67, 227),
    "resnet50": (224, 224),
}

#: Side in pixels of the stored images and of the mean image (ImageNet practice: short side
#: scaled to 256, centre 256x256 kept; Krizhevsky et al. 2012, section 2).
IMAGE_SIDE = 256

#: Bytes of one unpacked colour profile or note in a PNG file, on both sides of the container.
PNG_TEXT_LIMIT = 2**26


class Record(BaseModel):
    """Unknown fields are kept, so that a newer minor version survives being read and written."""

    model_config = ConfigDict(extra="allow", frozen=True)


class UnsupportedVersion(ValueError):
    """A record whose major version this code does not know."""


def check_version(found: object) -> Optional[str]:
    """Return a warning for an unknown minor version, None for a known one.

    Raises UnsupportedVersion for another major version or a text that is no version.
    """
    known_major, known_minor = (int(part) for part in SCHEMA_VERSION.split("."))
    try:
        major, minor = (int(part) for part in str(found).split("."))
    except ValueError:
        raise UnsupportedVersion(f"version {found!r} is not of the form MAJOR.MINOR") from None
    if major != known_major:
        raise UnsupportedVersion(
            f"version {found} is not known: this bundle reads version {known_major}.x"
        )
    if minor > known_minor:
        return f"version {found} is newer than {SCHEMA_VERSION}: fields it added are kept, not used"
    return None


def canonical_json(value: Any) -> bytes:
    """Bytes that depend on the value alone: sorted keys, no white space, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8")


def digest_of(value: Any) -> str:
    """sha256, hexadecimal, of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


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


class CodeIdentity(Record):
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


class Identity(Record):
    """What decides the bits. Read from a file, it is digested, compared and written as it stood
    there: a field that a later version adds is absent from the identities of older runs.
    """

    training: Training
    code: CodeIdentity
    image: ImageIdentity
    data: DataIdentity
    world: World
    determinism: Determinism

    _as_read: Optional[Dict[str, Any]] = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _keep(
        cls, value: Any, handler: ModelWrapValidatorHandler[Identity], info: ValidationInfo
    ) -> Identity:
        identity = handler(value)
        if info.mode == "json":
            identity._as_read = value
        return identity

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
        if not isinstance(other, Identity):
            return NotImplemented
        return self.model_dump(mode="json") == other.model_dump(mode="json")

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


class Resumed(Record):
    """The checkpoint of another run directory with which this one began."""

    run: str
    checkpoint: str  # file name
    sha256: str  # of the whole file
    step: int


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
    rerun_of: Optional[str] = None  # path of the run directory that is being repeated


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
    their sha256; they decide no bit, but nobody is to take an edited one for the original."""

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
