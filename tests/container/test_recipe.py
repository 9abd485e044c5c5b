import shutil
from pathlib import Path

import pytest

from container.digest import sha256_of_file
from container.recipe import FORMAT_ENTRY, Recipe, load_recipe, make_recipe, needed_files
from container.trouble import Trouble


def test_a_manifest_s_texts_give_the_same_recipe(recipe: Recipe) -> None:
    again = make_recipe(recipe.stack, dict(recipe.files))
    assert (again, again.sha256) == (recipe, recipe.sha256)


def test_the_lock_s_digest_is_that_of_its_file(recipe: Recipe, project: Path) -> None:
    assert recipe.lock_sha256 == sha256_of_file(project / "container/locks/cpu.json")
    assert recipe.lock.stack == "cpu"


@pytest.mark.parametrize("name", [*needed_files("cpu"), FORMAT_ENTRY])
def test_every_text_decides_the_digest(recipe: Recipe, name: str) -> None:
    changed = Recipe(recipe.stack, {**recipe.files, name: recipe.files[name] + " "})
    assert changed.sha256 != recipe.sha256


def test_missing_texts_are_all_named(recipe: Recipe) -> None:
    with pytest.raises(Trouble) as caught:
        make_recipe("cpu", {"Singularity.def": "", FORMAT_ENTRY: "1"})
    assert str(caught.value) == (
        "the recipe of stack cpu lacks container/unpack_deb.py\n"
        "the recipe of stack cpu lacks container/check_pins.py\n"
        "the recipe of stack cpu lacks container/locks/cpu.json\n"
        "-> use the manifest as bundle wrote it"
    )


def test_another_packing_format_is_refused(recipe: Recipe) -> None:
    with pytest.raises(Trouble) as caught:
        make_recipe("cpu", {**recipe.files, FORMAT_ENTRY: "0"})
    assert str(caught.value) == (
        "the image was packed by recipe format 0, this bundle writes format 1\n"
        "-> use the version of bundle that wrote the manifest"
    )


def test_a_stack_without_lock_is_refused(project: Path, tmp_path: Path) -> None:
    locks = tmp_path / "container/locks"
    locks.mkdir(parents=True)
    shutil.copy(project / "container/locks/cpu.json", locks)
    with pytest.raises(Trouble) as caught:
        load_recipe(tmp_path, "gpu")
    assert str(caught.value) == (
        "stack 'gpu' has no lock (container/locks/gpu.json); stacks with one: cpu\n"
        "-> name one of these, or write the lock with `bundle.py lock`"
    )


@pytest.mark.parametrize("name", ["../x", "/etc/x", "", "Cpu", "cpu\n", "cpu-1", "*"])
def test_what_is_no_name_of_a_stack_is_refused(project: Path, name: str) -> None:
    with pytest.raises(Trouble) as caught:
        load_recipe(project, name)
    assert str(caught.value) == (
        f"{name!r} is not a name of a stack (small letters and digits, a letter first); "
        "known stacks: cpu, cuda12\n-> name one of these"
    )


def test_a_build_file_that_is_gone_is_named(project: Path, tmp_path: Path) -> None:
    (tmp_path / "container/locks").mkdir(parents=True)
    shutil.copy(project / "container/locks/cpu.json", tmp_path / "container/locks")
    with pytest.raises(Trouble) as caught:
        load_recipe(tmp_path, "cpu")
    assert caught.value.problems == [
        "Singularity.def: cannot be read: [Errno 2] No such file or directory: "
        f"'{tmp_path}/Singularity.def'"
    ]
