"""A user without rights, on a Slurm of his own: nothing of the tool or its tests needs root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List

import pytest

from container.build_folder import remove_tree
from container.cache import cache_root
from tests.integration.clusters import PROFILES
from tests.integration.conftest import PROJECT, Bench, clone_project
from tests.schedulers.daemons import INSTALL
from tests.schedulers.slurm_server import SlurmServer

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.long]

NOBODY = 65534
#: By way of the shell: setpriv itself would still look the program up with root's rights.
AS_NOBODY = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
AS_NOBODY += ["sh", "-c", 'umask 077; exec "$@"', "sh"]
NOT_NEEDED = ("__pycache__", "mypy*", "ruff*", "sklearn*", "scikit_learn*", "scipy*", "pip*")

#: Starts a Slurm, submits to it, asks, runs it again without a scheduler, and stops the Slurm.
SESSION = """\
import json, os, subprocess, sys
from tests.schedulers.slurm_server import SlurmServer
server = SlurmServer()
server.start()
try:
    os.environ.update(server.environment)
    def bundle(*words):
        done = subprocess.run(
            [sys.executable, "bundle.py", *words], capture_output=True, text=True, check=False
        )
        return [done.returncode, done.stdout, done.stderr]
    submitted = bundle("submit", "--wait", sys.argv[1])
    run = submitted[1].splitlines()[0].partition("run  ")[2]
    told = {"submit": submitted, "run": run, "status": bundle("status", "--json", run)}
    told["rerun"] = bundle("rerun", "--site", "local", run)
    told["doctor"] = bundle("doctor", "--stack", "cpu", "--site", "kite", "--job", "--nodes", "2")
    print(json.dumps(told))
finally:
    server.stop()
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody can reach; pytest's own can only be reached by its user."""
    folder = Path("/var/tmp") / f"bundle-user-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(mode=0o755)
    yield folder
    remove_tree(folder)


def own_environment(project: Path) -> None:
    """What `make setup` makes, from the packages that are here, for a Python that all can run."""
    (project / ".venv").unlink()
    (project / ".tools").unlink()
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", ".venv"],
                   cwd=project, check=True)  # fmt: skip
    (packages,) = (project / ".venv" / "lib").glob("python3*/site-packages")
    for source in (path for path in sys.path if path.endswith("-packages")):
        ignored = shutil.ignore_patterns(*NOT_NEEDED)
        shutil.copytree(source, packages, ignore=ignored, dirs_exist_ok=True)
    (project / ".venv" / ".installed").touch()
    command = ["bash", "container/install_apptainer.sh", ".tools/apptainer"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


def test_slurm_as_an_ordinary_user(public: Path, image: str, data_template: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("all tests run as an ordinary user already")
    if SlurmServer.missing():
        pytest.skip(f"{', '.join(SlurmServer.missing())}: {INSTALL}")
    version = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print(sys.version_info[:2])"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    if version.strip() != str(sys.version_info[:2]):
        pytest.skip("the system's Python is of another version than these packages")
    (public / "project").mkdir()
    project = clone_project(public / "project")
    own_environment(project)
    images = public / "cache" / "images"
    images.mkdir(parents=True)
    for path in (cache_root(os.environ) / "images").glob("cpu-*.json"):
        if json.loads(path.read_text())["sha256"] == image:
            shutil.copy2(path, images)
            shutil.copy2(path.with_suffix(".sif"), images)
    profiles = public / "config" / "bundle" / "sites"
    profiles.mkdir(parents=True)
    (profiles / "kite.yaml").write_text(PROFILES["slurm"])
    shutil.copytree(data_template, public / "data")
    (public / "home").mkdir()
    config = Bench(public).config("two", site="kite", nnodes=2, ranks_per_node=1)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(public)], check=True)
    environment: Dict[str, str] = {
        "PATH": "/usr/bin:/bin", "HOME": str(public / "home"), "USER": "nobody",
        "LOGNAME": "nobody", "LANG": "C.UTF-8", "BUNDLE_CACHE": str(public / "cache"),
        "XDG_CONFIG_HOME": str(public / "config"),
    }  # fmt: skip
    command: List[str] = [*AS_NOBODY, str(project / ".venv" / "bin" / "python"), "-c", SESSION]
    done = subprocess.run(
        [*command, str(config)], cwd=project, env=environment, capture_output=True, text=True,
        check=False, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["submit"][0] == 0, told
    run = Path(told["run"])
    assert json.loads(told["status"][1])[0]["state"] == "done"
    assert run.stat().st_uid == NOBODY
    assert json.loads((run / "manifest.json").read_text())["circumstance"]["user"] == "nobody"
    assert "--allow-run-as-root" not in (run / "job.sh").read_text()
    assert told["rerun"][0] == 0 and "verdict: identical\n" in told["rerun"][1], told
    assert told["doctor"][0] == 0, told
    assert "job: ranks       2 ranks, one process each, on 2 nodes" in told["doctor"][1], told[
        "doctor"
    ][1]
    assert PROJECT not in run.parents
