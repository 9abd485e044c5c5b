"""What `make` does to a machine: look first, refuse with a list, touch nothing then."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Dict, List

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PLAIN = ("bash", "dirname", "grep", "head", "id", "cat", "env", "sha256sum", "cut")


def bare_path(folder: Path, *more: str) -> str:
    """A PATH with nothing on it but the plainest tools and ``more``: no apt-get, so no Debian."""
    folder.mkdir()
    for name in (*PLAIN, *more):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(Path(found).resolve())
    return str(folder)


def install(project: Path, environment: Dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(PROJECT / "container" / "install_host.sh"), str(project)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_without_anything_gets_the_whole_list(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    done = install(project, {"PATH": bare_path(tmp_path / "bin"), "HOME": str(tmp_path)})
    assert done.returncode == 2
    assert done.stdout == ""
    lines: List[str] = done.stderr.splitlines()
    assert lines[:3] == [
        "bundle: this machine lacks what bundle needs, and this account cannot install it.",
        "Ask an administrator to install:",
        "  - git",
    ]
    assert "  - Python 3.9 or newer with its venv module" in lines
    assert "  - Open MPI 4.0 or newer (its mpirun on PATH)" in lines
    assert "  - Apptainer 1.2 or newer, or SingularityCE 3.10 or newer" in lines
    assert lines[-1] == "-> then run the same command again; nothing was changed"
    assert list(project.iterdir()) == []


def test_another_mpi_family_is_refused_before_anything_else(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    path = bare_path(tmp_path / "bin")
    # A stand-in that prints what MPICH's launcher prints.
    mpirun = tmp_path / "bin" / "mpirun"
    mpirun.write_text("#!/usr/bin/env bash\necho 'HYDRA build details:'\n")
    mpirun.chmod(0o755)
    done = install(project, {"PATH": path, "HOME": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr == (
        "bundle: mpirun on PATH is not Open MPI 4.0 or newer: HYDRA build details:\n"
        "-> put one first on PATH (for instance: module load openmpi), then run this again\n"
    )
    assert list(project.iterdir()) == []


def test_a_ready_machine_is_left_alone(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    if shutil.which("python3") is None:
        pytest.skip("this test needs a python3 on PATH")
    path = bare_path(tmp_path / "bin", "git", "mpirun")
    for name, text in (("apptainer", "#!/bin/sh\necho apptainer version 1.4.5\n"),):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    python = tmp_path / "bin" / "python3"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    done = install(project, {"PATH": path, "HOME": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(project.iterdir()) == []


def test_the_command_line_says_how_to_make_its_environment(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "bundle.py", tmp_path / "bundle.py")
    done = subprocess.run(
        ["/usr/bin/env", "python3", str(tmp_path / "bundle.py"), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"bundle: its own environment is not there or not complete: {tmp_path}/.venv\n"
        f"-> run: make -C '{tmp_path}' setup\n"
    )


def test_a_game_called_singularity_is_not_taken_for_the_container_program(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    path = bare_path(tmp_path / "bin")
    game = tmp_path / "bin" / "singularity"
    game.write_text("#!/bin/sh\necho 'Endgame: Singularity 1.00'\n")
    game.chmod(0o755)
    done = install(project, {"PATH": path, "HOME": str(tmp_path)})
    assert done.returncode == 2
    assert "  - Apptainer 1.2 or newer, or SingularityCE 3.10 or newer" in done.stderr


def test_an_environment_is_only_called_complete_for_what_was_installed_last(
    tmp_path: Path,
) -> None:
    """A -> B -> A installs three times; the packages are none, the installer is the real one."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"# {name}\n")
    script = PROJECT / "container" / "install_python.sh"
    said = []
    for name in ("a.txt", "a.txt", "b.txt", "a.txt"):
        done = subprocess.run(
            ["bash", str(script), "venv", name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout)
    assert said == [
        "installing Python packages pinned in a.txt (log: venv/install.log)\n",
        "",
        "installing Python packages pinned in b.txt (log: venv/install.log)\n",
        "installing Python packages pinned in a.txt (log: venv/install.log)\n",
    ]


@pytest.mark.parametrize("status", [0, 3])
def test_what_pip_says_is_kept_in_a_log_that_is_named(tmp_path: Path, status: int) -> None:
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/bash\n"
        'if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && exit; fi\n'
        '[ "$1" = -c ] && exit\n'
        "for n in {1..52}; do echo WARNING: $n of this machine >&2; done\n"
        f"exit {status}\n"
    )
    python.chmod(0o755)
    (tmp_path / "a.txt").write_text("")
    script = PROJECT / "container" / "install_python.sh"
    done = subprocess.run(
        ["bash", str(script), "venv", "a.txt", str(python)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert done.stdout == "installing Python packages pinned in a.txt (log: venv/install.log)\n"
    assert "WARNING: 1 of this machine\n" in (tmp_path / "venv" / "install.log").read_text()
    assert (tmp_path / "venv" / ".installed").exists() == (status == 0)
    shown = [f"WARNING: {number} of this machine" for number in range(33, 53)]
    ending = ["bundle: python ended with status 3", "-> see venv/install.log"]
    assert done.stderr.splitlines() == ([*shown, *ending] if status else [])
