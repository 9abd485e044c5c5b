"""How the command line enters the project's own Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import bundle
from tests.waiting import PATIENCE

PROJECT = Path(__file__).resolve().parents[3]


def test_packages_that_a_cluster_s_modules_bring_are_not_imported(tmp_path: Path) -> None:
    """PYTHONPATH of a module would hide the packages that were pinned, in workers too."""
    foreign, images = tmp_path / "foreign", tmp_path / "images"
    foreign.mkdir()
    images.mkdir()
    for name in ("click", "pydantic", "yaml", "numpy", "PIL", "simplejpeg"):
        (foreign / f"{name}.py").write_text(f"raise ImportError('{name} of another Python')\n")
    (images / "0.jpg").write_bytes(b"no image")
    done = subprocess.run(
        [sys.executable, str(PROJECT / "bundle.py"), "data", "crop", str(images), "cropped"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(foreign), "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "0.jpg: is not an image" in done.stderr
    assert "Error" not in done.stderr


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            "rocrate",
            f"bundle: its own environment has no rocrate, which this version needs: "
            f"{PROJECT}/.venv\n-> run: make -C {PROJECT} setup\n",
        ),
        ("manifests.gone", "bundle: internal error: ModuleNotFoundError: gone\n-> please report"),
    ],
)
def test_an_environment_older_than_the_checkout_is_no_internal_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: str,
    said: str,
) -> None:
    """Somebody pulled a newer version, and did not run `make setup`."""

    def invoke(_context: object) -> None:
        raise ModuleNotFoundError("gone", name=module)

    monkeypatch.setattr(bundle.cli, "invoke", invoke)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the fault is written
    with pytest.raises(SystemExit) as caught:
        bundle.main(["completion", "bash"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(said)


def test_links_that_lead_in_a_circle_are_no_internal_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "it's a loop"
    loop.symlink_to(loop.name)
    with pytest.raises(SystemExit) as caught:
        bundle.main(["submit", "--dry-run", str(loop / "config.yaml")])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        f"bundle: {loop}: links lead in a circle there (ls -l shows where each one leads)\n"
        "-> name another path, or set the link right\n"
    )


#: Runs the file ARGUMENT as a program; SPY is what else happens.
RUN_SPIED = """
import os, runpy, signal, sys
{spy}
sys.argv = [sys.argv[1], "--help"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def spied(spy: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", RUN_SPIED.format(spy=spy), str(PROJECT / "bundle.py")],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["atexit", "click", "manifests.cli.verbs"])
def test_an_interrupt_while_modules_are_imported_is_one_line(module: str) -> None:
    spy = f"""
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.modules.pop({module!r}, None)
sys.meta_path.insert(0, Interrupt())
"""
    done = spied(spy, "-E", "-s", "-X", "utf8")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "bundle: interrupted; nothing half-written was left\n"


def test_an_interrupt_waits_until_the_own_python_is_entered() -> None:
    spy = """
def entered(*_):
    os.write(1, str(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])).encode())
    os._exit(0)
os.execv = entered
"""
    assert spied(spy).stdout == "True"


def test_an_interrupt_that_the_caller_ignores_stays_ignored() -> None:
    """As by nohup, or in the background of a script."""
    spy = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
import atexit
atexit.register(lambda: os.write(1, str(signal.getsignal(signal.SIGINT)).encode()))
"""
    done = spied(spy, "-E", "-s", "-X", "utf8")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, str(signal.SIG_IGN))


def test_a_working_folder_that_was_removed_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run(
        ["sh", "-c", 'rmdir "$PWD" && exec "$0" "$@"', sys.executable, str(PROJECT / "bundle.py"),
         "show", "a-run"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("bundle: the folder that you are in was removed\n-> cd to another one\n")
