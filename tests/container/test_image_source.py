"""What the flows say of images: altered, not built, built again. No image is built here."""

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List

import pytest

from container.build import build_image
from container.cache import Cache
from container.digest import sha256_of_bytes
from container.image import Image
from container.recipe import FORMAT_ENTRY, Recipe, load_recipe, lock_path
from container.runtime import Runtime
from container.trouble import Trouble
from manifests.flows.preflight import built_image
from manifests.host.context import HostContext
from manifests.host.image_source import (
    build_stack,
    copy_image,
    describe_build,
    find_image_of_run,
    image_of_run,
    others_notice,
    write_lock,
)
from manifests.record.canonical_json import canonical_json
from manifests.record.schema import Manifest
from tests.records import manifest_values


@pytest.fixture
def host(tiny_project: Path, tmp_path: Path, lines: Any) -> HostContext:
    return HostContext(
        project=tiny_project,
        cache=Cache(tmp_path / "cache"),
        environ={"PATH": os.defpath},
        now=lambda: datetime(2026, 1, 31, tzinfo=timezone.utc),
        hostname="here",
        user="me",
        as_root=False,
        cpu_features=frozenset(),
        cores=2,
        progress=lines,
    )


def everything(folder: Path) -> List[Any]:
    """Each path below ``folder`` with its bytes."""
    found = sorted(folder.rglob("*"))
    return [(path, path.read_bytes() if path.is_file() else None) for path in found]


def alter(image: Image, *, keep_time: bool) -> str:
    """Change one byte; returns what is said of the image then."""
    before = image.path.stat()
    image.path.write_bytes(b"an imagE")
    moved = 0 if keep_time else 1_000_000_000
    os.utime(image.path, ns=(before.st_atime_ns, before.st_mtime_ns + moved))
    return (
        f"the image {image.path} was altered: sha256 expected {sha256_of_bytes(b'an image')}, "
        f"found {sha256_of_bytes(b'an imagE')}"
    )


REMEDY = "remove it and build it again: python bundle.py build --stack tiny"


@pytest.mark.parametrize("keep_time", [True, False])
def test_submit_says_that_an_image_was_altered(
    tiny: Recipe, tiny_image: Image, host: HostContext, keep_time: bool
) -> None:
    fault = alter(tiny_image, keep_time=keep_time)
    before = everything(host.cache.root)
    with pytest.raises(Trouble) as caught:
        built_image(tiny, host)
    assert str(caught.value) == f"{fault}\n-> {REMEDY}"
    assert everything(host.cache.root) == before


def test_submit_uses_a_touched_image_and_writes_nothing(
    tiny: Recipe, tiny_image: Image, host: HostContext
) -> None:
    os.utime(tiny_image.path, ns=(1, 1))
    before = everything(host.cache.root)
    assert built_image(tiny, host).sha256 == tiny_image.sha256
    assert everything(host.cache.root) == before


def test_submit_says_that_there_is_no_image(tiny: Recipe, host: HostContext) -> None:
    with pytest.raises(Trouble) as caught:
        built_image(tiny, host)
    assert str(caught.value) == (
        "the image of stack tiny is not built yet\n-> run: python bundle.py build --stack tiny"
    )


@pytest.mark.parametrize("keep_time", [True, False])
def test_an_altered_image_is_not_copied(tiny_image: Image, tmp_path: Path, keep_time: bool) -> None:
    fault = alter(tiny_image, keep_time=keep_time)
    with pytest.raises(Trouble) as caught:
        copy_image(tiny_image, tmp_path / "copy.sif")
    assert str(caught.value) == f"{fault}\n-> {REMEDY}"
    assert not (tmp_path / "copy.sif").exists()


def test_where_the_copy_cannot_be_written_nothing_is_built(
    host: HostContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "manifests.host.image_source.build_recipe", lambda *_: pytest.fail("it is built")
    )
    (tmp_path / "file").write_text("")
    before = everything(tmp_path)
    target = tmp_path / "file" / "new" / "copy.sif"
    with pytest.raises(Trouble) as caught:
        build_stack("tiny", host, mirror=None, output=target)
    assert str(caught.value) == (
        f"{target}: cannot be written: Not a directory\n-> name another file"
    )
    assert everything(tmp_path) == before


def test_the_folder_of_a_copy_is_made(
    tiny_image: Image, host: HostContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifests.host.image_source.build_recipe", lambda *_: tiny_image)
    build_stack("tiny", host, mirror=None, output=tmp_path / "new" / "copy.sif")
    assert (tmp_path / "new" / "copy.sif").read_bytes() == b"an image"


def test_other_images_of_the_stack_are_counted(tiny_image: Image) -> None:
    folder = tiny_image.path.parent
    for name in ("cpu-0123.sif", "tinier-0123.sif"):
        (folder / name).write_bytes(b"of another stack")
    assert others_notice(tiny_image) is None
    for name in ("tiny-0123.sif", "tiny-4567.sif"):
        (folder / name).write_bytes(bytes(1_500_000))
    assert others_notice(tiny_image) == (
        f"images of stack tiny of other recipes in {folder}: 2, 3 MB; "
        "`clean --images` removes those that no run needs"
    )


class Nothing:
    """A source that has no file."""

    def fetch(self, files: Any, folder: Path, arrived: Any) -> None:
        raise Trouble("nothing is served", "serve it")


def test_build_says_that_it_builds_over_an_altered_image(
    tiny: Recipe, tiny_image: Image, host: HostContext, lines: Any
) -> None:
    fault = alter(tiny_image, keep_time=False)
    with pytest.raises(Trouble, match="nothing is served"):
        build_image(
            tiny,
            host.cache,
            runtime=Runtime(Path("/nowhere"), "", ""),
            deb_source=Nothing(),
            wheel_source=Nothing(),
            progress=lines,
        )
    assert lines.stages[0] == f"{fault}; building it again"


def outlook(recipe: Recipe, **changes: Any) -> Dict[str, Any]:
    values = {
        "stack": "tiny",
        "lock_sha256": recipe.lock_sha256,
        "debian_packages": 1,
        "python_packages": 1,
        "bytes": 10,
        "image": None,
        "fault": None,
    }
    return {**values, **changes}


def head(recipe: Recipe) -> List[str]:
    return [
        f"stack tiny: lock sha256 {recipe.lock_sha256}",
        "1 Debian and 1 Python packages, 0 MB",
    ]


def test_a_dry_build_without_image(tiny: Recipe, host: HostContext) -> None:
    found = describe_build("tiny", host)
    assert found.values() == outlook(tiny)
    assert found.lines() == [*head(tiny), "the image is not built yet"]
    assert not host.cache.root.exists()


@pytest.mark.parametrize("touched", [False, True])
def test_a_dry_build_with_an_image_writes_nothing(
    tiny: Recipe, tiny_image: Image, host: HostContext, touched: bool
) -> None:
    if touched:
        os.utime(tiny_image.path, ns=(1, 1))
    before = everything(host.cache.root)
    found = describe_build("tiny", host)
    assert found.values() == outlook(tiny, image=str(tiny_image.path))
    assert found.lines() == [*head(tiny), f"up to date: {tiny_image.path}"]
    assert everything(host.cache.root) == before


def test_a_dry_build_with_an_altered_image(
    tiny: Recipe, tiny_image: Image, host: HostContext
) -> None:
    fault = alter(tiny_image, keep_time=False)
    before = everything(host.cache.root)
    found = describe_build("tiny", host)
    assert json.loads(json.dumps(found.values())) == outlook(tiny, fault=fault)
    assert found.lines() == [*head(tiny), f"{fault}; it would be built again"]
    assert everything(host.cache.root) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../x", "'../x' is not a name of a stack (small letters and digits, a letter first); "
                 "known stacks: none\n-> name one of these"),
        ("gpu", "there is no stack 'gpu' (container/stacks/gpu.yaml); known stacks: none\n"
                "-> name one of these, or write that file"),
    ],
)  # fmt: skip
def test_no_lock_is_written_for_a_stack_that_is_not_there(
    host: HostContext, name: str, message: str
) -> None:
    before = everything(host.project.parent)
    with pytest.raises(Trouble) as caught:
        write_lock(name, host, mirror=None, dry_run=False)
    assert str(caught.value) == message
    assert everything(host.project.parent) == before


LOCK_REMEDY = "restore it from version control, or write it anew with `bundle.py lock`"


def test_a_broken_lock_is_reported_as_such(tiny_project: Path) -> None:
    (tiny_project / lock_path("tiny")).write_text("{\n")
    with pytest.raises(Trouble) as caught:
        load_recipe(tiny_project, "tiny")
    assert str(caught.value) == (
        "container/locks/tiny.json: is not JSON: Expecting property name enclosed in double "
        f"quotes: line 2 column 1 (char 2)\n-> {LOCK_REMEDY}"
    )


def test_an_altered_lock_is_reported_as_such(tiny_project: Path) -> None:
    lock = tiny_project / lock_path("tiny")
    content = json.loads(lock.read_text())
    content["timestamp"] += 1
    lock.write_text(json.dumps(content))
    claimed = content.pop("digest")
    with pytest.raises(Trouble) as caught:
        load_recipe(tiny_project, "tiny")
    assert str(caught.value) == (
        "container/locks/tiny.json: was altered since it was written: its digest says "
        f"{claimed}, its content has {sha256_of_bytes(canonical_json(content))}\n-> {LOCK_REMEDY}"
    )


# --- the image of an old run ------------------------------------------------------------------

WHERE = "/runs/old/manifest.json"
RESTORE = "restore the manifest from a copy of the run: it must be as bundle wrote it"


def old_run(recipe: Recipe, image: Path, *, sha256: str = "1" * 64, size: int = 8) -> Manifest:
    """A manifest that carries the recipe, of an image with that sha256, recorded at that path."""
    values = manifest_values(image=str(image))
    values["recipe"] = {"stack": recipe.stack, "files": dict(recipe.files)}
    values["identity"]["image"] = {
        "stack": recipe.stack,
        "sha256": sha256,
        "size": size,
        "lock_sha256": recipe.lock_sha256,
        "recipe_sha256": recipe.sha256,
    }
    return Manifest.model_validate(values)


def refused(manifest: Manifest, host: HostContext, *, may_build: bool = True) -> str:
    """What is said when there is no image for a run; the cache stays as it is."""
    before = everything(host.cache.root)
    with pytest.raises(Trouble) as caught:
        image_of_run(manifest, host, mirror=None, may_build=may_build, where=WHERE)
    assert everything(host.cache.root) == before
    return str(caught.value)


@pytest.mark.parametrize("moved", [False, True])
def test_an_old_run_s_image_is_found_where_it_was_or_in_the_cache(
    tiny: Recipe, tiny_image: Image, host: HostContext, tmp_path: Path, moved: bool
) -> None:
    path = tmp_path / "gone.sif" if moved else tiny_image.path
    manifest = old_run(tiny, path, sha256=tiny_image.sha256)
    before = everything(host.cache.root)
    assert image_of_run(manifest, host, mirror=None, may_build=False) == tiny_image.path
    assert everything(host.cache.root) == before


def test_an_image_that_another_account_keeps_to_itself_is_as_good_as_gone(
    tiny: Recipe, tiny_image: Image, host: HostContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path("/home/colleague")
    manifest = old_run(tiny, home / "cache/x.sif", sha256=tiny_image.sha256)
    is_file = Path.is_file

    def closed(path: Path) -> bool:
        if home in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", closed)
    assert find_image_of_run(manifest, host) == tiny_image.path
    tiny_image.path.unlink()
    assert find_image_of_run(manifest, host) is None


def edited(recipe: Recipe, name: str, text: str) -> Recipe:
    return Recipe(recipe.stack, {**recipe.files, name: text})


@pytest.mark.parametrize("may_build", [True, False])
def test_an_altered_recipe_in_a_manifest_is_named_by_the_manifest(
    tiny: Recipe, host: HostContext, tmp_path: Path, may_build: bool
) -> None:
    manifest = old_run(tiny, tmp_path / "gone.sif")
    other = edited(tiny, "Singularity.def", "Bootstrap: scratch\n")
    manifest.recipe.files["Singularity.def"] = "Bootstrap: scratch\n"
    assert refused(manifest, host, may_build=may_build) == (
        f"the recipe in {WHERE} was altered: sha256 {other.sha256}, expected {tiny.sha256}"
        f"\n-> {RESTORE}"
    )


def test_a_broken_lock_in_a_manifest_is_named_by_the_manifest(
    tiny: Recipe, host: HostContext, tmp_path: Path
) -> None:
    manifest = old_run(edited(tiny, lock_path("tiny"), "[]"), tmp_path / "gone.sif")
    assert refused(manifest, host) == (
        f"the recipe in {WHERE}: lock: is not a lock: expected a JSON object\n-> {RESTORE}"
    )


def test_texts_that_a_manifest_lacks_are_all_named(
    tiny: Recipe, host: HostContext, tmp_path: Path
) -> None:
    manifest = old_run(tiny, tmp_path / "gone.sif")
    for name in ("Singularity.def", lock_path("tiny")):
        del manifest.recipe.files[name]
    assert refused(manifest, host) == (
        f"the recipe in {WHERE} lacks Singularity.def\n"
        f"the recipe in {WHERE} lacks container/locks/tiny.json\n-> {RESTORE}"
    )


def test_a_manifest_s_stack_may_not_be_a_path(
    tiny: Recipe, host: HostContext, tmp_path: Path
) -> None:
    files = {**tiny.files, lock_path("../x"): tiny.lock_text}
    manifest = old_run(Recipe("../x", files), tmp_path / "gone.sif")
    assert refused(manifest, host) == (
        f"the recipe in {WHERE}: '../x' is not a name of a stack\n-> {RESTORE}"
    )


def test_a_recipe_of_another_format_is_not_built(
    tiny: Recipe, host: HostContext, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.sif"
    manifest = old_run(edited(tiny, FORMAT_ENTRY, "0"), gone)
    assert refused(manifest, host) == (
        f"the image with sha256 {'1' * 64} is gone, and the recipe in {WHERE} is of format 0: "
        "this bundle builds format 1\n-> use the version of bundle that wrote it, "
        f"or give the original image file back as {gone}"
    )


def test_a_dry_rerun_builds_no_image(tiny: Recipe, host: HostContext, tmp_path: Path) -> None:
    gone, altered = tmp_path / "gone.sif", tmp_path / "altered.sif"
    altered.write_bytes(b"an imagE")
    next_step = "a real rerun would build it again\n-> leave --dry-run out"
    assert refused(old_run(tiny, gone), host, may_build=False) == (
        f"the image with sha256 {'1' * 64} is gone; {next_step}"
    )
    assert refused(old_run(tiny, altered), host, may_build=False) == (
        f"the image {altered} was altered; {next_step}"
    )


def test_a_whole_image_of_other_bytes_is_kept_and_said_so(
    tiny: Recipe, tiny_image: Image, host: HostContext, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.sif"
    assert refused(old_run(tiny, gone), host) == (
        f"the image built again from the recipe in {WHERE} has sha256 {tiny_image.sha256}, "
        f"expected {'1' * 64}\n-> give the original image file back as {gone}"
    )
