"""doctor --job: real image, real MPI, real job script; also where MPI is broken."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from container.cache import cache_root
from jobtemplates import local
from tests.integration.conftest import PROJECT
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.image

JOB = [
    "job", "job: ranks", "job: messages", "job: image", "job: processor", "job: cores",
    "job: TMPDIR", "job: GPUs",
]  # fmt: skip

#: Starts its commands side by side, as an mpirun whose variables do not reach the container.
LONELY = """#!/bin/bash
case $1 in --version) exec mpirun --version ;; esac
while [ $# -gt 0 ] && [ "$1" != bash ]; do shift; done
[ $# -gt 0 ] || exit 0
"$@" & "$@" & wait
"""


@pytest.fixture
def own_cache(tmp_path: Path, image: str) -> Path:
    """A cache with the built image in it by a link: nothing else is shared with the user's."""
    del image
    cache = tmp_path / "cache"
    (cache / "images").mkdir(parents=True)
    for path in (cache_root(os.environ) / "images").glob("cpu-*"):
        (cache / "images" / path.name).symlink_to(path)
    return cache


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    """Sites of the user's own: ``lonely``, whose ranks do not meet, and ``broken``."""
    text = (PROJECT / "jobtemplates/sites/local.yaml").read_text(encoding="utf-8")
    program = tmp_path / "lonely-mpirun"
    program.write_text(LONELY)
    program.chmod(0o755)
    folder = tmp_path / "config/bundle/sites"
    folder.mkdir(parents=True)
    for name, mpirun in (("lonely", [str(program)]), ("broken", ["mpirun", "--no-such-option"])):
        lines = [line for line in text.splitlines() if not line.startswith(("mpirun:", "name:"))]
        lines += [f"name: {name}", f"mpirun: {json.dumps(mpirun)}"]
        (folder / f"{name}.yaml").write_text("\n".join(lines))
    return tmp_path / "config"


def argv(*arguments: str) -> List[str]:
    return [
        sys.executable,
        str(PROJECT / "bundle.py"),
        "doctor",
        "--job",
        "--stack",
        "cpu",
        *arguments,
    ]


def findings(code: int, *arguments: str, **environment: str) -> Dict[str, Any]:
    done = subprocess.run(
        argv("--json", *arguments),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    assert done.stderr.endswith(
        "bundle: starting a small job at site " + (arguments[1] if arguments else "local") + "\n"
    )
    return {row["check"]: row for row in json.loads(done.stdout)["findings"]}


def test_a_job_at_this_machine(own_cache: Path, image: str) -> None:
    found = findings(0, BUNDLE_CACHE=str(own_cache))
    assert list(found)[-len(JOB) :] == JOB
    assert {found[name]["state"] for name in JOB} == {"ok"}
    assert found["job: ranks"]["found"].startswith("2 ranks, one process each, on 1 node (")
    assert found["job: messages"]["found"] == (
        "2 ranks exchanged all kinds of messages over pml ob1, btl self vader"
    )
    assert found["job: image"]["found"] == f"sha256 {image} on every node"
    assert not (own_cache / "doctor").exists()


def test_ranks_that_do_not_meet(own_cache: Path, profiles: Path) -> None:
    found = findings(
        2, "--site", "lonely", BUNDLE_CACHE=str(own_cache), XDG_CONFIG_HOME=str(profiles)
    )
    assert found["job"]["state"] == "ok"
    assert found["job: ranks"]["state"] == "fail"
    assert found["job: ranks"]["found"] == (
        "each of 2 processes is rank 0 of 1: it did not find the launcher"
    )


def test_a_job_that_fails_is_kept_and_named(own_cache: Path, profiles: Path) -> None:
    found = findings(
        2, "--site", "broken", BUNDLE_CACHE=str(own_cache), XDG_CONFIG_HOME=str(profiles)
    )
    assert [name for name in found if name.startswith("job")] == ["job"]
    (kept,) = (own_cache / "doctor").iterdir()
    assert 'unknown option "--no-such-option"' in found["job"]["found"]
    assert found["job"]["advice"] == f"remove {kept} when you have looked into its logs/"
    assert (kept / "logs" / "stderr.log").is_file()


def test_the_call_that_fails_and_its_transport_are_named(own_cache: Path, profiles: Path) -> None:
    """What Open MPI takes by itself: training would end in it too."""
    folder = profiles / "bundle" / "sites"
    text = (folder / "broken.yaml").read_text().replace("broken", "chance").replace(
        ', "--no-such-option"', ', "--oversubscribe", "--bind-to", "none"'
    )  # fmt: skip
    (folder / "chance.yaml").write_text(text.replace("pml: ob1", "pml: cm"))
    found = findings(
        2, "--site", "chance", BUNDLE_CACHE=str(own_cache), XDG_CONFIG_HOME=str(profiles)
    )
    assert [name for name in found if name.startswith("job")] == ["job"]
    (kept,) = (own_cache / "doctor").iterdir()
    number = json.loads((kept / "job.json").read_text())["id"]
    assert re.fullmatch(
        rf"job {number}: rank [01]: MPI_\S+( of objects)? between the ranks fails over pml cm, mtl "
        r"ofi: MPI_ERR_OTHER: known error not in list\n"
        r"-> let the site profile name another transport \(docs/sites.md, Transport\)",
        found["job"]["found"],
    ), found["job"]["found"]


@pytest.mark.parametrize(
    ("keys", "taken"),
    [
        ({"transport": "ucx", "mca": {"plm": "isolated"}}, "pml ucx"),
        (
            {
                "transport": "ofi",
                "mca": {"plm": "isolated", "mtl_ofi_provider_include": "tcp;ofi_rxm"},
            },
            "pml cm, mtl ofi",
        ),
        ({"mca": {"plm": "isolated"}}, "pml ob1, btl self tcp vader"),
    ],
)
def test_each_transport_carries_all_messages(
    own_cache: Path, profiles: Path, keys: Dict[str, Any], taken: str
) -> None:
    values = {
        "name": "other", "description": "", "scheduler": "local",
        "mpirun": ["mpirun", "--oversubscribe", "--bind-to", "none"], **keys,
    }  # fmt: skip
    (profiles / "bundle" / "sites" / "other.yaml").write_text(json.dumps(values))
    found = findings(
        0, "--site", "other", BUNDLE_CACHE=str(own_cache), XDG_CONFIG_HOME=str(profiles)
    )
    assert found["job: messages"]["found"] == (
        f"2 ranks exchanged all kinds of messages over {taken}"
    )


def test_an_interrupted_doctor_leaves_no_job_and_no_folder(own_cache: Path) -> None:
    doctor = subprocess.Popen(
        argv(),
        env={**os.environ, "BUNDLE_CACHE": str(own_cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    jobs = own_cache / "doctor"
    wait_until(lambda: list(jobs.glob("doctor-*/job.json")))
    (job,) = (json.loads(path.read_text())["id"] for path in jobs.glob("doctor-*/job.json"))
    doctor.send_signal(signal.SIGINT)
    _, errors = doctor.communicate(timeout=PATIENCE)
    assert doctor.returncode == 130
    assert errors.endswith("bundle: interrupted; nothing half-written was left\n")
    assert local.session_of(job) == []
    assert not list(jobs.iterdir())
