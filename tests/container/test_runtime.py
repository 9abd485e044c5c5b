import os
import tempfile
import time
from pathlib import Path

import pytest

from container.image import Image
from container.runtime import Runtime, find_runtime
from container.trouble import Trouble

NEXT = (
    "run `make setup`, which installs a private Apptainer on Debian, "
    "or ask your administrator for apptainer or singularity"
)


def program(path: Path, answer: str, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def private(project: Path) -> Path:
    return project / ".tools/apptainer/usr/bin/apptainer"


def test_the_user_s_own_goes_first(tmp_path: Path) -> None:
    program(private(tmp_path), "apptainer version 1.4.5")
    own = program(tmp_path / "bin/singularity", "singularity-ce version 4.1.0-1")
    found = find_runtime(tmp_path, {"PATH": f"{tmp_path}/bin:/nowhere"})
    assert found == Runtime(own, "singularity-ce", "4.1.0-1")


def test_the_private_one_is_found(tmp_path: Path) -> None:
    own = program(private(tmp_path), "apptainer version 1.4.5")
    assert find_runtime(tmp_path, {"PATH": "/nowhere"}) == Runtime(own, "apptainer", "1.4.5")


def test_the_game_of_that_name_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "bin/singularity", "Endgame: Singularity 1.00")
    own = program(private(tmp_path), "apptainer version 1.4.5")
    assert find_runtime(tmp_path, {"PATH": f"{tmp_path}/bin"}).program == own


def test_without_any_the_next_step_is_setup(tmp_path: Path) -> None:
    game = program(tmp_path / "bin/singularity", "Endgame: Singularity 1.00")
    with pytest.raises(Trouble) as caught:
        find_runtime(tmp_path, {"PATH": f"{tmp_path}/bin"})
    assert str(caught.value) == (
        "neither apptainer nor singularity was found\n"
        f"{game} is not the container program: it says 'Endgame: Singularity 1.00'\n"
        f"-> {NEXT}"
    )


def test_an_image_that_cannot_be_run(tmp_path: Path) -> None:
    broken = program(tmp_path / "apptainer", "apptainer version 1.4.5", status=255)
    image = tmp_path / "x.sif"
    with pytest.raises(Trouble) as caught:
        Runtime(broken, "apptainer", "1.4.5").exec_options(image)
    assert caught.value.problems[0] == f"{broken} cannot run {image}"
    assert len(caught.value.problems) == 4


#: Stands for Apptainer, which makes its folder in the home when nobody names another one.
NOSY = """#!/bin/sh
folder="${APPTAINER_CONFIGDIR:-$HOME/.apptainer}"
mkdir -p "$folder" "${SINGULARITY_CONFIGDIR:-$HOME/.singularity}"
touch "$folder/seen"
[ "$1" = --version ] && echo "apptainer version 1.4.5"
[ "$1" = inspect ] && echo '{"data": {"attributes": {"labels": {}}}, "type": "container"}'
echo "$1 $folder" >> "$0.log"
exit 0
"""


def test_an_image_for_which_there_is_no_room(tmp_path: Path) -> None:
    own = program(tmp_path / "apptainer", "")
    own.write_text(
        "#!/bin/sh\necho 'FATAL: write /t/rootfs-1: no space left on device' >&2\nexit 255\n"
    )
    with pytest.raises(Trouble) as caught:
        Runtime(own, "apptainer", "1.4.5").exec_options(tmp_path / "x.sif")
    assert caught.value.next_step == (
        "make room where images are unpacked (TMPDIR, else /tmp), or let TMPDIR name another folder"
    )


def test_asking_the_program_leaves_nothing_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    for folder in (home, scratch):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    for name in ("APPTAINER_CONFIGDIR", "SINGULARITY_CONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    own = program(private(tmp_path), "")
    own.write_text(NOSY)
    found = find_runtime(tmp_path, {"PATH": "/nowhere"})
    assert found.exec_options(tmp_path / "x.sif") == ()
    found.inspect(tmp_path / "x.sif")
    asked = Path(f"{own}.log").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["--version", "exec", "inspect"]
    assert [list(home.iterdir()), list(scratch.iterdir())] == [[], []]


def test_it_is_tried_without_folders_that_take_no_files(tmp_path: Path) -> None:
    """As a job does: there an image could not be unpacked."""
    good, file, other = tmp_path / "good", tmp_path / "file", tmp_path / os.fsdecode(b"caf\xe9")
    good.mkdir()
    other.mkdir()
    file.touch()
    for folder in (str(good), "", str(file), str(other), "relative", "/no/such/folder", "/proc"):
        for name in ("TMPDIR", "APPTAINER_TMPDIR", "SINGULARITY_TMPDIR"):
            environ = {"PATH": "/bin", name: folder}
            kept = environ if folder in (str(good), "") else {"PATH": "/bin"}
            assert Runtime(tmp_path, "apptainer", "1", environ).trial_environ == kept
    assert [list(folder.iterdir()) for folder in (good, other)] == [[], []]


@pytest.mark.image
def test_the_real_program_leaves_nothing_in_the_home(
    built_image: Image, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    fresh = Runtime(runtime.program, runtime.family, runtime.version)
    fresh.inspect(built_image.path)
    assert list(tmp_path.iterdir()) == []


def test_setuid_needs_a_file_of_root_s(tmp_path: Path) -> None:
    starter = tmp_path / "libexec/singularity/bin/starter-suid"
    starter.parent.mkdir(parents=True)
    starter.touch()
    own = tmp_path / "singularity"
    own.write_text(f"#!/bin/sh\necho PREFIX=/usr\necho LIBEXECDIR={tmp_path}/libexec\n")
    own.chmod(0o755)
    runtime = Runtime(own, "singularity-ce", "4.1.0")
    assert not runtime.has_setuid()
    starter.chmod(0o4755)
    assert runtime.has_setuid() == (os.geteuid() == 0)
    assert not Runtime(tmp_path / "gone", "apptainer", "1.4.5").has_setuid()


@pytest.mark.image
def test_the_start_of_the_image_is_timed(built_image: Image, runtime: Runtime) -> None:
    begin = time.monotonic()
    seconds = runtime.start_seconds(built_image.path)
    assert 0 < seconds < time.monotonic() - begin


@pytest.mark.image
def test_a_file_that_is_no_image_is_named(tmp_path: Path, project: Path) -> None:
    image = tmp_path / "x.sif"
    image.write_text("no image")
    runtime = find_runtime(project, os.environ)
    with pytest.raises(Trouble) as caught:
        runtime.inspect(image)
    assert caught.value.problems[0] == f"{runtime.program} cannot run {image}"
