"""What starts a rank on its node: container program, ways to start it, scratch folder, failures."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Dict, List, Sequence

import pytest

from jobtemplates.launcher import ContainerUse
from jobtemplates.script import LaunchContext, render_script
from manifests.record.outcome import Failure
from manifests.rundir.records import read_failure
from tests.jobtemplates.test_script import HOSTILE, SITE, Stage

NODE = os.uname().nodename

#: Stands for mpirun: starts its ranks side by side, and ends with the first status that is not 0.
MPIRUN = """\
#!/bin/bash
case $1 in --version) echo 'mpirun (Open MPI) 4.1.4'; exit ;; esac
echo x >>starts
while [ "$1" != bash ]; do shift; done
status=0
for rank in 0 1; do
    OMPI_COMM_WORLD_RANK=$rank OMPI_COMM_WORLD_LOCAL_RANK=$rank "$@" || status=$?
done
exit $status
"""

#: Stands for the container program: WAYS are the words after `exec` with which it can start.
APPTAINER = """\
#!/usr/bin/env python3
import json, os, sys
words = sys.argv[sys.argv.index("exec") + 1 :]
way = words[0] if words[0] in ("--userns", "--unsquash") else "plain"
if way not in os.environ.get("WAYS", "plain").split():
    sys.exit(print("INFO:    one line\\nFATAL:   no \\"way\\" by " + way, file=sys.stderr) or 255)
if words[-1] == "true":
    open("tried", "a").write(way + "\\n")
    sys.exit()
seen = {"argv": sys.argv, "environ": dict(os.environ)}
json.dump(seen, open("rank.json", "w"))
open("result.json", "w").write("{}")
"""


class Node(Stage):
    """A job whose ranks are started on this host by a container program of the test's own."""

    def __init__(self, tmp_path: Path, use: ContainerUse) -> None:
        super().__init__(tmp_path)
        self.tools = tmp_path / "tools"
        self.use = use
        self.program("mpirun", MPIRUN)

    def program(self, name: str, text: str = APPTAINER) -> Path:
        path = self.tools / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, inside: Sequence[str] = (), **environment: str) -> int:
        context = LaunchContext(self.use, as_root=True)
        script = render_script(self.manifest(), self.files, SITE, context)
        self.files.job_script.write_text(script)
        done = subprocess.run(
            [*inside, "bash", str(self.files.job_script)],
            env={**self.environment, **environment}, cwd=self.folder, check=False,
        )  # fmt: skip
        return done.returncode

    @property
    def starts(self) -> int:
        return len((self.files.root / "starts").read_text().split())

    def rank(self) -> Dict[str, object]:
        return dict(json.loads((self.files.root / "rank.json").read_text()))

    def argv(self) -> List[str]:
        argv = self.rank()["argv"]
        assert isinstance(argv, list)
        return argv

    def environ(self) -> Dict[str, str]:
        environ = self.rank()["environ"]
        assert isinstance(environ, dict)
        return environ


def use(program: Path | str, *flags: str, untried: bool = False) -> ContainerUse:
    return ContainerUse(str(program), flags, in_user_namespace=True, untried=untried)


def node(tmp_path: Path, *flags: str, untried: bool = False) -> Node:
    made = Node(tmp_path, use("apptainer", *flags, untried=untried))
    made.use = use(made.program("apptainer"), *flags, untried=untried)
    return made


def test_what_worked_at_submit_is_not_tried_again(tmp_path: Path) -> None:
    stage = node(tmp_path, "--userns")
    assert stage.run(WAYS="--userns") == 0
    assert stage.argv()[1:4] == ["--quiet", "exec", "--userns"]
    assert not (stage.files.root / "tried").exists()
    assert (stage.starts, stage.stderr()) == (1, "")


def test_another_way_to_start_is_found_before_the_first_is_blamed(tmp_path: Path) -> None:
    stage = node(tmp_path)
    assert stage.run(WAYS="--userns --unsquash") == 0
    assert stage.argv()[1:4] == ["--quiet", "exec", "--userns"]
    assert stage.starts == 2
    assert stage.stderr().splitlines()[-1] == (
        f"bundle: warning: {NODE}: the image is started by: {stage.use.program} exec --userns"
    )


def test_no_way_to_start_is_named_with_the_programs_words(tmp_path: Path) -> None:
    stage = node(tmp_path, "--userns")
    assert stage.run(WAYS="none") == 2
    assert stage.starts == 2
    assert read_failure(stage.files) == Failure(
        rank=0,
        message=f"{NODE}: {stage.use.program} cannot start the image {stage.image}: "
        'FATAL:   no "way" by --unsquash',
        next_step="see: python bundle.py doctor; on the nodes: "
        f"{stage.use.program} exec {stage.image} true",
    )
    assert stage.files.exit_code.read_text() == "2\n"


def test_a_program_that_nobody_tried_is_tried_on_the_node(tmp_path: Path) -> None:
    stage = node(tmp_path, untried=True)
    assert stage.run(WAYS="--unsquash") == 0
    assert stage.argv()[1:4] == ["--quiet", "exec", "--unsquash"]
    assert stage.starts == 1


def test_no_program_on_the_node(tmp_path: Path) -> None:
    stage = node(tmp_path)
    gone = f'{tmp_path}/a "b" \\ c/apptainer'
    stage.use = use(gone)
    (stage.tools / "apptainer").unlink()
    programs = tmp_path / "programs"
    programs.mkdir()
    for path in Path("/usr/bin").iterdir():
        if path.name not in ("apptainer", "singularity"):
            (programs / path.name).symlink_to(path)
    assert stage.run(PATH=f"{stage.tools}:{programs}") == 2
    message = (
        f"{NODE}: there is no container program: neither {gone} nor apptainer or singularity on "
        "PATH"
    )
    next_step = "install one on the nodes, or name it in the site profile (container: PATH)"
    assert read_failure(stage.files) == Failure(rank=0, message=message, next_step=next_step)
    # Both ranks fail of it, and it is said once.
    assert stage.stderr() == f"bundle: {message}\n-> {next_step}\n"
    assert [path.name for path in stage.files.root.glob(".failure*")] == []


def test_the_nodes_own_program_takes_the_place_of_one_that_is_not_there(tmp_path: Path) -> None:
    stage = node(tmp_path)
    stage.use = use("/login/only/bin/apptainer")
    assert stage.run(WAYS="--userns") == 0
    assert stage.argv()[0].endswith("/tools/apptainer")
    assert stage.stderr() == (
        f"bundle: warning: {NODE}: the image is started by: apptainer exec --userns\n"
    )


def scratch_of(stage: Node) -> List[str]:
    return [word for word in stage.argv() if "/bundle/scratch" in word]


def test_a_scratch_folder_is_short_inside_however_long_it_is(tmp_path: Path) -> None:
    stage = node(tmp_path)
    folder = tmp_path / HOSTILE / ("x" * 100)
    folder.mkdir(parents=True)
    assert stage.run(TMPDIR=str(folder)) == 0
    quoted = str(folder).replace('"', '""')
    assert scratch_of(stage) == [
        f'type=bind,"source={quoted}",destination=/bundle/scratch', "TMPDIR=/bundle/scratch",
    ]  # fmt: skip
    assert stage.environ()["BUNDLE_TMPDIR"] == str(folder)
    # Below /tmp it is there at its own place too; elsewhere it is bound.
    own = f'type=bind,"source={quoted}","destination={quoted}"'
    assert (own in stage.argv()) == (not str(folder).startswith(("/tmp/", "/var/tmp/")))
    assert stage.stderr() == ""
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "problem"),
    [
        ("/no/such/folder", "is not a folder"),
        ("relative/folder", "is not an absolute path"),
        ("{here}/file", "is not a folder"),
        ("/proc", "cannot be written"),
        ("/tmp/a\nb", "has a line break in its name"),
        (os.fsdecode(b"/tmp/caf\xe9"), "is not UTF-8"),
        ("/", "is the root of all files"),
        ("/usr/..", "is the root of all files"),
        ("/bundle", "is a folder of the container"),
        ("/bundle/scratch", "is a folder of the container"),
    ],
)
def test_a_scratch_folder_that_is_none(tmp_path: Path, folder: str, problem: str) -> None:
    stage = node(tmp_path)
    (tmp_path / "file").touch()
    folder = folder.format(here=tmp_path)
    assert stage.run(TMPDIR=folder) == 0
    assert scratch_of(stage) == []
    assert "TMPDIR" not in stage.environ()
    warning = f"TMPDIR={folder} {problem}: /tmp is used".replace("\udce9", "?")
    assert stage.environ()["BUNDLE_TMPDIR_WARNING"] == warning
    assert stage.stderr() == f"bundle: warning: {NODE}: {warning}\n"


def test_scratch_that_is_named_by_no_word(tmp_path: Path) -> None:
    """Open MPI takes an empty TMPDIR for a path, and goes on to TEMP and TMP without one."""
    stage = node(tmp_path)
    assert stage.run(TMPDIR="", TEMP="/no/such", TMP="/no/such") == 0
    assert {"TMPDIR", "TEMP", "TMP"} & stage.environ().keys() == set()
    assert (scratch_of(stage), stage.stderr()) == ([], "")


def test_a_scratch_folder_without_room(tmp_path: Path) -> None:
    """MPI ends without a word, or never, where its files of 8 MB do not fit."""
    full = tmp_path / "full"
    full.mkdir()
    mount = 'mount -t tmpfs -o size=9m full "$1" && shift && exec "$@"'
    inside = ["unshare", "-rm", "bash", "-c", mount, "bash", str(full)]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted in a user namespace")
    stage = node(tmp_path)
    assert stage.run(inside, TMPDIR=str(full)) == 0
    assert scratch_of(stage) == []
    warning = f"TMPDIR={full} has no room for 10240 kB: /tmp is used"
    assert stage.stderr() == f"bundle: warning: {NODE}: {warning}\n"
    # /tmp, where this test may have its folders, cannot be full for one process: here is a limit.
    limit = ["bash", "-c", 'ulimit -f 128; exec "$@"', "bash"]
    for tmpdir, said in (("/no", "TMPDIR=/no is not a folder, /tmp"), ("/tmp", "/tmp")):
        stage = node(tmp_path / tmpdir.strip("/"))
        assert stage.run(limit, TMPDIR=tmpdir) == 2
        assert stage.stderr() == (
            f"bundle: {NODE}: there is no folder for temporary files: {said} has no room for 10240 "
            "kB\n-> make room in the folder that TMPDIR names there (else /tmp), or let it name "
            "another (in the site profile: scratch)\n"
        )


def test_a_folder_to_unpack_images_in_that_is_none(tmp_path: Path) -> None:
    stage = node(tmp_path)
    assert stage.run(APPTAINER_TMPDIR="/no/such", SINGULARITY_TMPDIR=str(tmp_path)) == 0
    assert "APPTAINER_TMPDIR" not in stage.environ()
    assert stage.environ()["SINGULARITY_TMPDIR"] == str(tmp_path)
    warning = f"{NODE}: APPTAINER_TMPDIR=/no/such is not a folder: it is not used"
    assert stage.stderr().splitlines() == [f"bundle: warning: {warning}"] * 2


def test_without_tmpdir_nothing_is_bound(tmp_path: Path) -> None:
    stage = node(tmp_path)
    stage.environment.pop("TMPDIR", None)
    assert stage.run() == 0
    assert scratch_of(stage) == []
