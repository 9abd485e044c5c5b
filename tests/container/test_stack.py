from pathlib import Path, PurePosixPath

import pytest

from container.lock import parse_lock
from container.recipe import load_recipe
from container.stack import find_stack, load_stack
from container.stack_names import DEFAULT_STACK
from container.trouble import Trouble

WHOLE = """
stack: tiny
timestamp: 1
compression: none
debian: {release: bookworm, architecture: amd64, packages: [bash], tools: [], exclude: {}}
python: {version: "3.11", glibc: "2.36", packages: [], build: []}
environment: {}
drop: []
probes: []
"""


def test_a_stack_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(WHOLE)
    assert load_stack(path).debian.packages == ["bash"]


def test_the_driver_that_a_stack_needs(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(WHOLE)
    assert load_stack(path).driver is None
    path.write_text(f'{WHOLE}driver: "525.60.13"\n')
    assert load_stack(path).driver == "525.60.13"
    path.write_text(f'{WHOLE}driver: ">=525"\n')
    with pytest.raises(Trouble) as caught:
        load_stack(path)
    assert str(caught.value) == (
        f"{path}: driver: found '>=525', expected text of the form ^\\d+(\\.\\d+)+$\n"
        "-> correct the stack file"
    )


def test_every_fault_comes_with_its_key_path(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    text = WHOLE.replace("drop: []", "drop: [usr/../../etc]").replace("[bash]", "[Bash, dash]")
    path.write_text(text.replace('"3.11"', "3.11") + "probe: 1\n")
    with pytest.raises(Trouble) as caught:
        load_stack(path)
    assert caught.value.problems == [
        f"{path}: debian.packages[0]: found 'Bash', expected text of the form "
        "^[a-z0-9][a-z0-9+.-]+$",
        f"{path}: python.version: found 3.11, expected text",
        f"{path}: drop: 'usr/../../etc' leaves the image",
        f"{path}: probe: is not a known key",
    ]
    assert caught.value.next_step == "correct the stack file"


@pytest.mark.parametrize("name", ["../tiny", "/tiny", "", "Tiny", "tiny\n", "*"])
def test_what_is_no_name_of_a_stack_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Trouble) as caught:
        find_stack(stacks(tmp_path), name)
    assert str(caught.value) == (
        f"{name!r} is not a name of a stack (small letters and digits, a letter first); "
        "known stacks: other, tiny\n-> name one of these"
    )


def stacks(folder: Path) -> Path:
    """A project with two stack files; what ``other`` says is not its name."""
    for name in ("tiny", "other"):
        path = folder / "container" / "stacks" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(WHOLE)
    return folder


def test_a_stack_is_found_by_its_name(tmp_path: Path) -> None:
    assert find_stack(stacks(tmp_path), "tiny").stack == "tiny"


def test_an_unknown_stack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as caught:
        find_stack(stacks(tmp_path), "gpu")
    assert str(caught.value) == (
        "there is no stack 'gpu' (container/stacks/gpu.yaml); known stacks: other, tiny\n"
        "-> name one of these, or write that file"
    )


def test_a_stack_file_with_another_s_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as caught:
        find_stack(stacks(tmp_path), "other")
    assert str(caught.value) == (
        f"{tmp_path}/container/stacks/other.yaml: stack: found 'tiny', expected 'other' "
        "as in the file's name\n-> correct the stack file"
    )


def test_each_stack_of_the_project_says_what_its_lock_says(project: Path) -> None:
    """The lock repeats what decides bits; a stack file that was edited needs a new lock."""
    for path in sorted((project / "container/stacks").glob("*.yaml")):
        stack = load_stack(path)
        lock_file = project / "container/locks" / f"{stack.stack}.json"
        lock = parse_lock(lock_file.read_text(encoding="utf-8"), str(lock_file))
        assert path.stem == stack.stack == lock.stack
        for part in ("timestamp", "compression", "environment", "drop", "probes"):
            assert getattr(stack, part) == getattr(lock, part), part
        pins = {(pin.name, pin.version, pin.kind) for pin in stack.python.packages}
        assert pins == {(file.name, file.version, file.kind) for file in lock.python_for("image")}
        names = {file.name for file in lock.files_for("image")}
        assert set(stack.debian.packages) <= names
        assert not set(stack.debian.exclude) & names


def test_what_both_stacks_have_is_the_same(project: Path) -> None:
    """Packed data and CPU results of one serve the other; and one set of tests speaks for both."""
    cpu, cuda12 = find_stack(project, "cpu"), find_stack(project, "cuda12")
    versions = [{pin.name: pin.version for pin in one.python.packages} for one in (cpu, cuda12)]
    assert versions[0].items() < versions[1].items()
    assert cpu.debian == cuda12.debian
    assert cpu.python.build == cuda12.python.build
    assert cpu.timestamp == cuda12.timestamp
    assert cpu.environment.items() < cuda12.environment.items()
    assert set(cpu.drop) < set(cuda12.drop)
    assert cpu.probes == cuda12.probes[: len(cpu.probes)]


def test_the_default_stack_has_file_and_lock(project: Path) -> None:
    stack = find_stack(project, DEFAULT_STACK)
    lock = load_recipe(project, DEFAULT_STACK).lock
    assert (lock.stack, lock.probes) == (stack.stack, stack.probes)
    assert (lock.environment, lock.drop) == (stack.environment, stack.drop)
    pinned = {(pin.name, pin.version) for pin in stack.python.packages}
    assert {(file.name, file.version) for file in lock.python_for("image")} == pinned


@pytest.mark.parametrize("stack", ["cpu", "cuda12"])
def test_no_licence_is_dropped(project: Path, stack: str) -> None:
    """Whoever passes an image on passes these on."""
    site = "usr/local/lib/python3.11/dist-packages"
    kept = [
        f"{site}/nvidia_cudnn_cu12-8.9.7.29.dist-info/License.txt",
        f"{site}/nvidia_nccl_cu12-2.19.3.dist-info",
        f"{site}/cupy/_core/include/cupy/_cccl/LICENSE",
        f"{site}/cupy_cuda12x-13.6.0.dist-info/licenses/LICENSE",
        f"{site}/numpy-1.23.5.dist-info/LICENSES_bundled.txt",
        "usr/share/doc/libopenmpi3/copyright",
        "usr/share/common-licenses/GPL-3",
    ]
    for glob in find_stack(project, stack).drop:
        for path in (PurePosixPath("/", one) for one in kept):
            assert not any(one.match(f"/{glob}") for one in (path, *path.parents)), (glob, path)
