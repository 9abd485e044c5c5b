"""doctor: every check on this machine, on broken ones, for an ordinary user, and from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterator

import pytest

from container.build_folder import remove_tree
from container.cache import Cache
from container.image import published
from container.process import CommandFailed
from container.progress import Silent
from container.recipe import load_recipe
from container.trouble import Trouble
from manifests.doctor.examination import Check, examine, patiently
from manifests.host import asking
from manifests.host.context import HostContext, read_host_context
from manifests.host.finding import Finding, fail, ok, warn
from manifests.host.gpus import Driver, Gpus
from tests.waiting import PATIENCE

PROJECT = Path(__file__).resolve().parents[3]
NAMES = [
    "packages", "git", "runtime", "user namespaces", "/dev/fuse", "image", "image start", "cache",
    "clock", "out folders", "TMPDIR", "unpacked images", "shared memory", "mpirun",
    "mpirun start", "processor", "cores", "memory", "limits", "GPUs", "emulator", "scheduler",
]  # fmt: skip
#: Files that another process may be writing.
COMPILED = shutil.ignore_patterns("__pycache__")
SEE = "see to the file system, then try again"


@pytest.fixture
def host(tmp_path: Path) -> HostContext:
    """This machine, with an empty cache."""
    return replace(read_host_context(PROJECT, Silent()), cache=Cache(tmp_path / "cache"))


# --- whatever a check does ------------------------------------------------------------------


def test_a_check_that_hangs_is_left_behind() -> None:
    answered = threading.Event()
    found = patiently(Check("x", lambda: ok(str(answered.wait(PATIENCE))), patience=0.05))
    assert not answered.is_set()
    answered.set()
    assert found == fail(
        "no answer within 0.05 s",
        "see whether a file system or a command hangs on this host (`df`, `mount`)",
    )


@pytest.mark.parametrize(
    ("error", "finding"),
    [
        (Trouble(["a", "b"], "do c"), fail("a\nb", "do c")),
        (
            CommandFailed(["df"], None, None, "", "did not end within 20 s"),
            fail("`df` did not end within 20 s", "make this command work on this host"),
        ),
        (OSError(5, "Input/output error", "/data"), fail("/data: Input/output error", SEE)),
        (
            KeyError("MemTotal"),
            fail("internal error: KeyError: 'MemTotal'", "please report it"),
        ),
    ],
)
def test_a_check_that_raises_is_a_finding(error: Exception, finding: Finding) -> None:
    def examine_it() -> Finding:
        raise error

    assert patiently(Check("x", examine_it)) == finding


# --- machines -------------------------------------------------------------------------------


def test_a_machine_on_which_nothing_was_built(host: HostContext) -> None:
    findings = examine("local", "cpu", host)
    assert list(findings) == NAMES
    assert findings["image"] == fail(
        "the image of stack cpu is not built yet", "run: python bundle.py build --stack cpu"
    )
    assert findings["image start"] == warn("not tried without a working image", "see its own check")
    assert findings["cache"].state == "ok"
    assert findings["cache"].found.startswith(f"{host.cache.root}, ")
    assert not host.cache.root.exists(), "looking made the cache"
    assert findings["GPUs"] == ok("stack cpu needs none")
    assert findings["scheduler"] == ok("site local has none")
    assert findings["mpirun start"].state == "ok"


def test_an_altered_image(host: HostContext, tmp_path: Path) -> None:
    finished = tmp_path / "image.sif"
    finished.write_bytes(b"an image")
    image = published(load_recipe(PROJECT, "cpu"), host.cache, finished)
    image.path.write_bytes(b"an imagE")
    findings = examine("local", "cpu", host)
    found = findings["image"]
    assert found.state == "fail"
    assert found.found.startswith(
        f"the image {image.path} was altered: sha256 expected {image.sha256}, found "
    )
    assert found.advice == "remove it and build it again: python bundle.py build --stack cpu"
    assert findings["image start"].state == "warn"
    assert findings["clock"].state == "ok"


def test_mpich_no_runtime_and_an_old_processor(
    host: HostContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "mpirun").write_text(
        "#!/bin/sh\necho 'HYDRA build details:\n    Version:  4.0.2'\n"
    )
    (programs / "apptainer").write_text("#!/bin/sh\necho x >>$0.asked\necho 'a game 1.0'\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    # A project without its private Apptainer.
    project = tmp_path / "project"
    for name in ("container", "requirements"):
        shutil.copytree(PROJECT / name, project / name, ignore=COMPILED)
    shutil.copy(PROJECT / "Singularity.def", project)
    lacking = replace(
        host,
        project=project,
        cpu_features=frozenset({"avx2"}),
        environ={"PATH": str(programs)},
    )
    findings = examine("local", "cpu", lacking)
    assert findings["mpirun"].state == "fail"
    assert findings["mpirun"].found == (
        "mpirun on this host is MPICH 4.0.2, and the image has Open MPI: these cannot work together"
    )
    assert findings["runtime"].state == "fail"
    assert findings["runtime"].found == (
        "neither apptainer nor singularity was found\n"
        f"{programs / 'apptainer'} is not the container program: it says 'a game 1.0'"
    )
    assert findings["image start"].found == "not tried without a working runtime and image"
    assert (programs / "apptainer.asked").read_text() == "x\n", "a bad program was asked again"
    assert findings["processor"] == fail(
        "this machine's processor lacks fma: the bits would not be those of other machines",
        "run on a processor of the x86-64-v3 kind (Intel Haswell, AMD Zen, or newer)",
    )
    assert findings["packages"].state == "warn"
    assert findings["git"].found.endswith(
        "the project is not a checkout: a run takes all its files"
    )


@pytest.mark.parametrize(
    ("site", "stack", "problem"),
    [
        ("nowhere", "cpu", "site: there is no site 'nowhere'"),
        ("local", "none", "there is no stack 'none' (container/stacks/none.yaml); known"),
    ],
)
def test_an_unknown_site_or_stack(host: HostContext, site: str, stack: str, problem: str) -> None:
    with pytest.raises(Trouble) as caught:
        examine(site, stack, host)
    assert caught.value.problems[0].startswith(problem)


def test_a_stack_that_needs_a_newer_driver(
    host: HostContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    for name in ("container", "requirements"):
        shutil.copytree(PROJECT / name, project / name, ignore=COMPILED)
    text = (project / "container/stacks/cpu.yaml").read_text(encoding="utf-8")
    text = text.replace("stack: cpu\n", 'stack: gpu\ndriver: "525.60.13"\n')
    (project / "container/stacks/gpu.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(asking, "look_at_gpus", lambda: Gpus(Driver("470.82.01")))
    findings = examine("local", "gpu", replace(host, project=project))
    assert findings["GPUs"] == fail(
        "the NVIDIA driver is 470.82.01, and stack gpu needs 525.60.13 or newer",
        "ask your administrator for a newer driver, or take `--stack cpu`",
    )
    assert findings["image"].found == (
        "stack 'gpu' has no lock (container/locks/gpu.json); stacks with one: cpu, cuda12"
    )
    assert [finding for finding in findings.values() if "fault of bundle" in finding.found] == []


# --- from outside ---------------------------------------------------------------------------


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROJECT / "bundle.py"), "doctor", "--stack", "cpu", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.mark.image
def test_a_machine_that_is_well() -> None:
    done = doctor()
    rows = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert "\x1b" not in done.stdout
    assert "ok    GPUs             stack cpu needs none" in rows
    assert "ok    scheduler        site local has none" in rows
    assert [row for row in rows if row.startswith("ok    image start      `exec")] != []
    assert rows[-1].endswith(" 0 fail")
    assert done.stderr == "bundle: looking at this host: 22 checks\n"


def test_what_is_wrong_is_said_with_what_to_do(tmp_path: Path) -> None:
    done = doctor(BUNDLE_CACHE=str(tmp_path), NO_COLOR="", FORCE_COLOR="")
    assert done.returncode == 2
    assert (
        "fail  image            the image of stack cpu is not built yet\n"
        "                       -> run: python bundle.py build --stack cpu\n"
    ) in done.stdout
    told = doctor("--json", BUNDLE_CACHE=str(tmp_path))
    assert told.returncode == 2
    value = json.loads(told.stdout)
    assert value["state"] == "fail"
    assert [row["check"] for row in value["findings"]] == NAMES
    assert value["findings"][NAMES.index("image")] == {
        "check": "image",
        "state": "fail",
        "found": "the image of stack cpu is not built yet",
        "advice": "run: python bundle.py build --stack cpu",
    }
    assert list(tmp_path.iterdir()) == [], "looking left something in the cache"


#: Everything is imported before the rights are dropped: this Python may lie where only root can go.
AS_NOBODY = """
import os, sys
sys.path.insert(0, sys.argv[1])
import email.parser, encodings.utf_8_sig
import bundle, manifests.doctor.examination
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
bundle.main(["doctor", "--stack", "cpu", "--json"])
"""


@pytest.fixture
def public_project() -> Iterator[Path]:
    """A copy of the host's code that everybody can read; pytest's own folders are its user's."""
    folder = Path("/var/tmp") / f"bundle-test-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(mode=0o755)
    for name in ("container", "jobtemplates", "manifests", "requirements"):
        shutil.copytree(PROJECT / name, folder / name, ignore=COMPILED)
    for name in ("bundle.py", "Singularity.def"):
        shutil.copy(PROJECT / name, folder)
    yield folder
    remove_tree(folder)


def test_an_ordinary_user(public_project: Path) -> None:
    # Not root's home: it may be closed to others, which is a finding and not the end.
    environment: Dict[str, str] = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "USER": "nobody",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(public_project)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 2, done.stderr
    findings = {row["check"]: row for row in json.loads(done.stdout)["findings"]}
    assert list(findings) == NAMES
    assert [name for name in NAMES if "fault of bundle" in findings[name]["found"]] == []
    assert findings["cache"]["state"] == "fail"
    assert findings["cache"]["found"] == "/nonexistent/.cache/bundle: cannot be made in /"
    assert findings["image"]["state"] == "fail"
    assert "--allow-run-as-root" not in findings["mpirun start"]["found"]
    assert findings["mpirun start"]["state"] == "ok"
    if os.geteuid() == 0 and not Path("/dev/fuse").stat().st_mode & 0o006:
        assert findings["/dev/fuse"]["state"] == "warn"
