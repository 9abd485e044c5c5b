"""A run directory against its manifest: every mismatch, none of them in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import (
    AbstractSet,
    Any,
    Callable,
    Collection,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
)

from container.digest import sha256_of_file
from container.progress import Progress
from container.reachable import file_here
from container.recipe import Recipe, lock_path
from container.trouble import Trouble
from manifests.datasets.cache_folder import CacheFolder
from manifests.datasets.table import table_problems
from manifests.record.alteration import was_altered
from manifests.record.canonical_json import digest_of
from manifests.record.outcome import Result
from manifests.record.packed_file import Decoder
from manifests.record.run_files import RunFiles
from manifests.record.schema import Circumstance, ImageIdentity, Manifest, SampleSetIdentity
from manifests.record.states import root_problems
from manifests.rundir.job import read_job
from manifests.rundir.kept_states import missing_states, states_problems, stretch_problems
from manifests.rundir.mismatches import Mismatches
from manifests.rundir.records import (
    Warn,
    ignore,
    read_manifest,
    read_object,
    read_result,
    read_trail,
    trail_digest,
)
from manifests.rundir.snapshot import snapshot_problems


class Needed(NamedTuple):
    """The samples that some steps of a run need, counted from 0; None: all of a set."""

    train: Optional[AbstractSet[int]] = None
    val: Optional[AbstractSet[int]] = None


ALL = Needed()


#: Where the image with this identity lies on this machine; None when it is not there.
ImageLookup = Callable[[ImageIdentity], Optional[Path]]


def file_problems(path: Path, name: str, expected: str) -> List[str]:
    try:
        found = sha256_of_file(path)
    except FileNotFoundError:
        return [f"{name}: is missing"]
    except OSError as error:
        return [f"{name}: cannot be read: {error.strerror}"]
    if found != expected:
        return [f"{name}: {was_altered(found, expected)}"]
    return []


def identity_problems(files: RunFiles) -> List[str]:
    """Whether the identity digest is that of the identity as it stands in the file.

    Raises Trouble when the manifest is not a JSON object.
    """
    return identity_digest_problems(read_object(files.manifest))


def identity_digest_problems(raw: Dict[str, Any]) -> List[str]:
    """As :func:`identity_problems`, of the object in the file."""
    found, expected = digest_of(raw.get("identity")), raw.get("identity_digest")
    if found == expected:
        return []
    return [f"manifest.json: identity has the digest {found}, identity_digest says {expected}"]


def recipe_problems(manifest: Manifest) -> List[str]:
    """Whether the texts that build the image again are those of the identity."""
    image, kept = manifest.identity.image, manifest.recipe
    problems = []
    if kept.stack != image.stack:
        problems.append(
            f"manifest.json: recipe.stack is {kept.stack}, identity.image.stack is {image.stack}"
        )
    recipe = Recipe(kept.stack, kept.files)
    if recipe.sha256 != image.recipe_sha256:
        problems.append(
            f"manifest.json: recipe was altered: it has the digest {recipe.sha256}, "
            f"identity.image.recipe_sha256 says {image.recipe_sha256}"
        )
    lock = lock_path(kept.stack)
    if lock not in kept.files:
        problems.append(f"manifest.json: recipe.files lacks {lock}")
    elif recipe.lock_sha256 != image.lock_sha256:
        problems.append(
            f"manifest.json: recipe: {lock} has the sha256 {recipe.lock_sha256}, "
            f"identity.image.lock_sha256 says {image.lock_sha256}"
        )
    return problems


def companion_problems(files: RunFiles, manifest: Manifest) -> List[str]:
    """Mismatches of the files written beside the manifest: the config and the job script."""
    return [
        problem
        for name, expected in sorted(manifest.companions.items())
        for problem in file_problems(files.root / name, name, expected)
    ]


def _extra_problems(folder: Path, shown: str, expected: Iterable[Path]) -> List[str]:
    wanted = {path.name for path in expected}
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []  # that the files of it are missing is said for each
    return [f"{shown}/{name}: is not a file of this run" for name in names if name not in wanted]


def input_problems(files: RunFiles, manifest: Manifest) -> List[str]:
    """Mismatches of ``inputs/``: tables, mean image, initial model, and what else is there."""
    data = manifest.identity.data
    expected = [files.train_table, files.val_table, files.mean]
    if data.initmodel:
        expected.append(files.initmodel)
    return [
        *file_problems(files.train_table, "inputs/train.tsv", data.train.sha256),
        *file_problems(files.val_table, "inputs/val.tsv", data.val.sha256),
        *file_problems(files.mean, "inputs/mean.npy", data.mean.sha256),
        *(
            file_problems(files.initmodel, "inputs/initmodel.npz", data.initmodel)
            if data.initmodel
            else []
        ),
        *_extra_problems(files.inputs, "inputs", expected),
    ]


def data_problems(
    files: RunFiles,
    manifest: Manifest,
    *,
    circumstance: Circumstance,
    read_data: bool = True,
    cache_folder: Optional[CacheFolder],
    progress: Progress,
    needed: Needed = ALL,
) -> List[str]:
    """Images that are missing or altered; a table that is itself altered is passed over here.

    ``circumstance`` says where they are now. Without ``read_data`` neither images are read nor the
    pixels of packed files, of which the indexes are held against the tables all the same.
    """
    problems: List[str] = []
    paths, packed = circumstance.paths, circumstance.loading.loadtype == "custom"
    data = manifest.identity.data
    for table, identity, root, pack, only in (
        (files.train_table, data.train, paths.train_root, paths.train_pack, needed.train),
        (files.val_table, data.val, paths.val_root, paths.val_pack, needed.val),
    ):
        if not _table_is(table, identity) or (only is not None and not only):
            continue
        if packed:
            from manifests.datasets.packed_images import pack_problems

            problems += pack_problems(
                table, Path(pack or ""), decoder=_decoder(manifest), read_pixels=read_data,
                cache_folder=cache_folder, progress=progress, only=only,
            )  # fmt: skip
        elif read_data:
            problems += table_problems(
                table, Path(root), cache_folder=cache_folder, progress=progress, only=only
            )
    return problems


def _decoder(manifest: Manifest) -> Optional[Decoder]:
    """What decodes in the image of the run; None where that cannot be known."""
    from manifests.datasets.packed_images import decoder_of

    try:
        return decoder_of(Recipe(manifest.recipe.stack, manifest.recipe.files))
    except (Trouble, KeyError):
        return None  # what is wrong with the recipe is said for itself


def _table_is(table: Path, identity: SampleSetIdentity) -> bool:
    return not file_problems(table, table.name, identity.sha256)


def identity_files_problems(
    files: RunFiles,
    manifest: Manifest,
    *,
    runs_in_place: bool = False,
    swapped: Collection[str] = (),
) -> List[str]:
    """Mismatches of what lies in the run directory and decides the bits; not of the parts
    ``swapped`` (``code``, ``image``, ``data``), which are not used."""
    inputs = input_problems(files, manifest)
    code = (
        []
        if "code" in swapped
        else snapshot_problems(files.code, manifest, runs_in_place=runs_in_place)
    )
    return [
        *identity_problems(files),
        *(recipe_problems(manifest) if "image" not in swapped else []),
        *code,
        *(inputs if "data" not in swapped else [text for text in inputs if "initmodel" in text]),
    ]


def before_problems(
    files: RunFiles,
    manifest: Manifest,
    *,
    circumstance: Circumstance,
    cache_folder: Optional[CacheFolder],
    progress: Progress,
    needed: Needed = ALL,
    swapped: Collection[str] = (),
) -> List[str]:
    """Why this run cannot be repeated: manifest, snapshot, inputs, images that are not as recorded.

    ``cache_folder`` is the fingerprint cache; None reads every image, of those ``needed``. The
    parts ``swapped`` are not looked at.
    """
    problems = identity_files_problems(files, manifest, swapped=swapped)
    if "data" in swapped:
        return problems
    return [
        *problems,
        *data_problems(
            files,
            manifest,
            circumstance=circumstance,
            cache_folder=cache_folder,
            progress=progress,
            needed=needed,
        ),
    ]


def image_problems(image: ImageIdentity, path: Optional[Path], progress: Progress) -> List[str]:
    """Whether the SIF file at ``path`` is the one of the manifest."""
    if path is None or not file_here(path):
        return [f"image: no file with sha256 {image.sha256} (stack {image.stack}) is here"]
    with progress.track("check the image", path.stat().st_size, "B") as advance:
        found = sha256_of_file(path, advance)
    if found == image.sha256:
        return []
    return [f"image: {path} {was_altered(found, image.sha256)}"]


def result_problems(
    files: RunFiles, manifest: Manifest, warn: Warn = ignore, *, whole: bool = True
) -> List[str]:
    """Mismatches between result, trail, model, log, job, exit code and DONE. Of a run that is not
    ``whole`` there is no model."""
    problems = _ending_problems(files, warn)
    try:
        result = read_result(files, warn)
    except Trouble as trouble:
        return [*problems, *trouble.problems]
    return [
        *problems,
        *(
            outcome_problems(files, manifest, result)
            if whole or file_here(files.model)
            else result_record_problems(manifest, result)
        ),
        *log_problems(files, result),
        *_trail_problems(files, manifest, result),
    ]


def _ending_problems(files: RunFiles, warn: Warn) -> List[str]:
    """What the job left of itself: DONE with exit code 0, and a ``job.json`` that can be read."""
    problems: List[str] = []
    try:
        job = read_job(files, warn)
    except Trouble as trouble:
        problems += trouble.problems
    else:
        if job is not None and job.script is not None and job.script_sha256 is not None:
            problems += file_problems(files.root / job.script, job.script, job.script_sha256)
    if not files.done.exists():
        return [*problems, "DONE: is missing, the run is not complete"]
    try:
        text = files.exit_code.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        return [*problems, f"exit_code: cannot be read: {error.strerror}"]
    if text != "0":
        problems.append(f"exit_code: is {text[:20]!r}, expected 0 where DONE is")
    return problems


def _numbers(row: Mapping[str, Any]) -> Dict[str, str]:
    """Texts instead of numbers: NaN then equals NaN."""
    return {name: repr(float(value)) for name, value in row.items()}


def log_problems(files: RunFiles, result: Result) -> List[str]:
    """Whether the log is the one that was written, and the metrics are its last row."""
    if result.log is not None:
        altered = file_problems(files.log, "results/log.jsonl", result.log)
        if altered:
            return altered
    try:
        lines = files.log.read_bytes().splitlines()
        if not lines and not result.metrics:
            return []  # a slice that does not reach the run's last step
        row = _numbers(json.loads(lines[-1]))
    except OSError as error:
        return [f"results/log.jsonl: cannot be read: {error.strerror}"]
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError):
        return ["results/log.jsonl: last line is not a valid log row"]
    metrics = _numbers(result.metrics)
    return [
        f"result.json: metrics.{name} is {metrics.get(name, 'absent')}, "
        f"the last row of results/log.jsonl has {row.get(name, 'absent')}"
        for name in sorted({*metrics, *row})
        if metrics.get(name) != row.get(name)
    ]


def outcome_problems(files: RunFiles, manifest: Manifest, result: Result) -> List[str]:
    """What does not fit together of result, manifest and model; trail and log aside."""
    return [
        *result_record_problems(manifest, result),
        *file_problems(files.model, "results/model.npz", result.digests.model),
    ]


def result_record_problems(manifest: Manifest, result: Result) -> List[str]:
    """What does not fit together of result and manifest."""
    problems = []
    digests = result.digests
    if result.identity_digest != manifest.identity_digest:
        problems.append(
            f"result.json: is that of identity {result.identity_digest}, "
            f"the manifest's is {manifest.identity_digest}"
        )
    tensors = digest_of(digests.tensors)
    if tensors != digests.parameters:
        problems.append(
            f"result.json: digests.tensors have the digest {tensors}, "
            f"digests.parameters says {digests.parameters}"
        )
    problems += missing_states(manifest, result)
    return problems + root_problems(result, manifest.identity.world.ranks)


def altered_trail(found: str, result: Result) -> str:
    return f"results/trail: {was_altered(found, result.digests.trail)}"


def _trail_problems(files: RunFiles, manifest: Manifest, result: Result) -> List[str]:
    ranks = manifest.identity.world.ranks
    try:
        found = trail_digest(files, ranks)
        if found != result.digests.trail:
            return [altered_trail(found, result)]
        trail = read_trail(files, ranks)
    except Trouble as trouble:
        return trouble.problems
    problems = _extra_problems(
        files.trail, "results/trail", [files.trail_of(rank) for rank in range(ranks)]
    )
    for rank, records in enumerate(trail):
        last = records[-1].step if records else 0
        if last != result.steps:
            problems.append(
                f"results/trail: rank {rank} ends at step {last}, result.json has {result.steps}"
            )
    last_tensors = [record.parameters for record in trail[0] if record.step == result.steps]
    if last_tensors and last_tensors[-1] not in (None, result.digests.tensors):
        problems.append("results/trail: its last parameters are not those of result.json")
    return problems or stretch_problems(files, manifest, result)


def verify_run(
    files: RunFiles,
    *,
    image_path: ImageLookup,
    progress: Progress,
    check_data: bool = True,
    ended: bool = True,
    circumstance: Optional[Circumstance] = None,
    cache_folder: Optional[CacheFolder] = None,
    needed: Needed = ALL,
    whole: bool = True,
    warn: Warn = ignore,
) -> Mismatches:
    """Return every mismatch between a run directory, its image, its data and its manifest.

    A run that has not ``ended`` is not asked for what it has still to leave, one of which only some
    steps are here (not ``whole``, with the images ``needed``) not for its model.
    ``circumstance`` says where the data is now, by default the manifest's; ``cache_folder`` None
    reads every image again. Raises Trouble when the manifest itself cannot be read.
    """
    manifest = read_manifest(files, warn)
    image = manifest.identity.image
    return Mismatches(
        manifest=[*identity_problems(files), *recipe_problems(manifest)],
        code=snapshot_problems(files.code, manifest),
        inputs=[*input_problems(files, manifest), *companion_problems(files, manifest)],
        image=image_problems(image, image_path(image), progress),
        data=data_problems(
            files,
            manifest,
            circumstance=circumstance or manifest.circumstance,
            read_data=check_data,
            cache_folder=cache_folder,
            progress=progress,
            needed=needed,
        ),
        checkpoints=states_problems(files, manifest, _result_of(files)),
        result=result_problems(files, manifest, warn, whole=whole) if ended else [],
    )


def _result_of(files: RunFiles) -> Optional[Result]:
    """What is wrong with a result is said for itself."""
    try:
        return read_result(files) if files.result.exists() else None
    except Trouble:
        return None
