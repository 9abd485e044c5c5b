"""Job scripts: a golden file, shellcheck, and hostile values through a real shell."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict

import pytest

from container.trouble import Trouble
from jobtemplates.launcher import ContainerUse, bind
from jobtemplates.script import LaunchContext, render_script, script_warnings, with_job_id
from jobtemplates.sites import PROFILES, Site, load_site
from manifests.config.determinism import promises_for
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest
from tests.records import manifest_values

GOLDEN = Path(__file__).parent / "golden"
SITE = load_site("local", [PROFILES])
USER = LaunchContext(ContainerUse("/usr/bin/apptainer", (), True), as_root=False)
ROOT = LaunchContext(ContainerUse("/usr/bin/apptainer", ("--userns",), True), as_root=True)

HOSTILE = "a b'c\"d$(touch owned)`touch owned`;&|*?,:=é\\"


#: Site -> what its config asks for: 2 nodes wherever there are more than one.
PLACES: Dict[str, Dict[str, Any]] = {
    "local": {},
    "slurm": {"group": "physics", "others": {"partition": "long", "comment": "a b", "m": "be"}},
    "gridengine": {"group": "physics", "others": {"l": "h_vmem=4G", "m": "abe"}},
    "pbs": {"group": "physics", "others": {"M": "ada@example.org", "j": "oe"}},
    "tsubame3": {"nodetype": "f_node", "group": "tga-ada", "stdout": "$JOB_ID.o.log"},
    "tsubame4": {"nodetype": "gpu_1", "group": "tga-ada", "modules": ["openmpi/5.0.2-gcc"]},
    "abci3": {"nodetype": "rt_HF", "group": "gaa50000", "stdout": "$JOB_ID.o.log"},
}


def rendered(name: str) -> str:
    site = load_site(name, [PROFILES])
    values = manifest_values()
    kind = PLACES[name].get("nodetype")
    if name != "local":
        ranks = site.ranks_on_a_node(kind, None if kind else 2)
        values["identity"]["world"] = {"ranks": 2 * ranks, "nodes": 2}
        # A stack with GPUs: so every line of a profile is seen.
        values["identity"]["image"]["stack"] = "cuda12"
        values["promises"] = promises_for("cuda12").model_dump(mode="json")
    walltime = None if name == "local" else "01:00:00"
    values["circumstance"]["placement"].update(site=name, walltime=walltime, **PLACES[name])
    made = Manifest.model_validate(values)
    files = RunFiles(Path("/out/digits-20260102T030405Z-abcdef01"))
    return render_script(made, files, site, USER)


def test_there_is_a_golden_script_for_every_site() -> None:
    profiles = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    assert sorted(PLACES) == profiles == sorted(path.stem for path in GOLDEN.glob("*.sh"))


@pytest.mark.parametrize("name", sorted(PLACES))
def test_the_script_of_a_site_is_the_golden_one(name: str) -> None:
    assert rendered(name) == (GOLDEN / f"{name}.sh").read_text()


@pytest.mark.parametrize("name", sorted(PLACES))
def test_shellcheck_finds_nothing(name: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed; as root on Debian: bash tests/install.sh")
    script = str(GOLDEN / f"{name}.sh")
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_mount_value_is_one_csv_record() -> None:
    assert bind(Path('/a,b/"c"'), "/x", writable=False) == [
        "--mount",
        'type=bind,"source=/a,b/""c""",destination=/x,ro',
    ]


def test_a_path_with_a_line_break_is_refused() -> None:
    with pytest.raises(Trouble) as caught:
        bind(Path("/a\nb"), "/x", writable=False)
    assert str(caught.value) == ("'/a\\nb': a path with a line break cannot be bound\n-> rename it")


def test_only_job_id_stays_a_variable_in_a_log_name() -> None:
    assert with_job_id("$JOB_ID.o.log") == '"$JOB_ID".o.log'
    assert with_job_id("a $HOME $JOB_ID") == "'a $HOME '\"$JOB_ID\""


class Stage:
    """A run directory with hostile names and an mpirun that writes down what it was given."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / HOSTILE
        self.files = RunFiles(self.folder / "run")
        self.files.logs.mkdir(parents=True)
        self.image = self.folder / "image.sif"
        self.image.write_bytes(b"sif")
        tools = tmp_path / "tools"
        tools.mkdir()
        self.environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
        recorder = tools / "mpirun"
        recorder.write_text(
            "#!/usr/bin/env python3\n"
            "import json, os, sys\n"
            "if sys.argv[1:] == ['--version']:\n"
            "    sys.exit(print(os.environ.get('VERSION', 'mpirun (Open MPI) 4.1.4')))\n"
            "seen = {'argv': sys.argv[1:], 'environ': dict(os.environ)}\n"
            "json.dump(seen, open('seen.json', 'w'))\n"
            "if os.environ.get('WITH_RESULT'): open('result.json', 'w').write('{}')\n"
            "sys.exit(int(os.environ.get('STATUS', 0)))\n"
        )
        recorder.chmod(0o755)

    def manifest(self) -> Manifest:
        values = manifest_values(image=str(self.image), train_root=str(self.folder / "train"))
        values["identity"]["image"]["sha256"] = hashlib.sha256(b"sif").hexdigest()
        return Manifest.model_validate(values)

    def run(self, site: Site = SITE, **environment: str) -> int:
        script = render_script(self.manifest(), self.files, site, ROOT)
        self.files.job_script.write_text(script)
        done = subprocess.run(
            ["bash", str(self.files.job_script)],
            env={**self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == (b"", b"")
        return done.returncode

    def seen(self) -> dict[str, object]:
        return json.loads((self.files.root / "seen.json").read_text())

    def stderr(self) -> str:
        return (self.files.logs / "stderr.log").read_text()


def test_hostile_names_reach_mpirun_unharmed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.run(WITH_RESULT="1") == 0
    argv = stage.seen()["argv"]
    assert isinstance(argv, list)
    assert str(stage.image) in argv
    quoted = str(stage.folder / "train").replace('"', '""')
    assert f'type=bind,"source={quoted}",destination=/bundle/data/train,ro' in argv
    assert argv[-3:] == ["python3", "-m", "trainer"]
    assert "--allow-run-as-root" in argv
    assert not list(tmp_path.rglob("owned"))
    assert stage.files.exit_code.read_text() == "0\n"
    assert stage.files.done.exists()


def test_a_job_has_its_own_scratch_folder_while_it_runs(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    top = f"{tmp_path}/it's a `touch owned`"
    site = SITE.model_copy(update={"scratch": f"{top}/$USER/$JOB_ID"})
    assert stage.run(site, WITH_RESULT="1", USER="ada", BUNDLE_JOB="7", TMPDIR="/elsewhere") == 0
    environ, argv = stage.seen()["environ"], stage.seen()["argv"]
    assert isinstance(environ, dict) and isinstance(argv, list)
    assert environ["TMPDIR"] == f"{top}/ada/7"
    assert Path(top, "ada").is_dir() and not Path(top, "ada", "7").exists()
    assert not list(tmp_path.rglob("owned"))
    # Each rank makes it too: on another node it is not there yet.
    rank = next(word for word in argv if "failure.json" in word)
    assert rank.index('mkdir -p -- "$TMPDIR"') < rank.index("tried=$1")


def test_ranks_on_other_nodes_get_the_scratch_folder() -> None:
    site = load_site("slurm", [PROFILES]).model_copy(update={"scratch": "/scr/$JOB_ID"})
    values = manifest_values()
    values["identity"]["world"] = {"ranks": 4, "nodes": 2}
    values["circumstance"]["placement"].update(site="slurm", walltime="01:00:00")
    files = RunFiles(Path("/out/digits-20260102T030405Z-abcdef01"))
    text = render_script(Manifest.model_validate(values), files, site, USER)
    assert 'export TMPDIR=/scr/"${BUNDLE_JOB:-$JOB_ID}"\n' in text
    assert re.search(r"-x TMPDIR\b", text)


def test_variables_that_choose_algorithms_do_not_reach_the_ranks(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.run(
        WITH_RESULT="1",
        OPENBLAS_CORETYPE="Prescott",
        CHAINER_DTYPE="float16",
        PYTHONPATH="/elsewhere",
        OMPI_MCA_coll="^tuned",
        APPTAINERENV_OMP_NUM_THREADS="9",
        APPTAINER_BIND="/evil:/bundle/code",
        SINGULARITY_CLEANENV="1",
        APPTAINER_TMPDIR="/scratch",
        LC_ALL="C.UTF-8",
    )
    environ = stage.seen()["environ"]
    assert isinstance(environ, dict)
    gone = ("OPENBLAS_CORETYPE", "CHAINER_DTYPE", "PYTHONPATH", "OMPI_MCA_coll")
    gone += ("APPTAINERENV_OMP_NUM_THREADS", "APPTAINER_BIND", "SINGULARITY_CLEANENV")
    assert [name for name in gone if name in environ] == []
    assert environ["APPTAINER_TMPDIR"] == "/scratch"
    assert environ["LC_ALL"] == "C"  # names are bytes


def test_an_altered_image_stops_the_job_before_the_ranks(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    expected = hashlib.sha256(b"sif").hexdigest()
    stage.image.write_bytes(b"siF")
    assert stage.run() == 2
    found = hashlib.sha256(b"siF").hexdigest()
    assert stage.stderr() == (
        f"bundle: the image {stage.image} was altered: sha256 expected {expected}, found {found}\n"
        "-> remove it and build it again with: python bundle.py build --stack cpu\n"
    )
    assert stage.files.exit_code.read_text() == "2\n"
    assert not stage.files.done.exists()
    assert not (stage.files.root / "seen.json").exists()


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.image.rename(tmp_path / "elsewhere")
    script = stage.run
    assert script() == 2
    assert stage.stderr() == (
        f"bundle: the image {stage.image} cannot be read\n"
        "-> build it again with: python bundle.py build --stack cpu\n"
    )


def test_ranks_that_fail_pass_their_status_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.run(STATUS="7") == 7
    assert stage.files.exit_code.read_text() == "7\n"
    assert not stage.files.done.exists()


def test_no_result_is_no_success(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.run() == 2
    assert stage.stderr() == (
        "bundle: the ranks ended without an error and without a result\n"
        "-> look into logs/; was the job stopped from outside?\n"
    )
    assert not stage.files.done.exists()


def test_a_follow_up_leaves_a_run_that_is_done_or_failed_alone(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.run(WITH_RESULT="1") == 0
    before = {path: path.stat().st_mtime_ns for path in stage.files.root.iterdir()}
    (stage.files.root / "seen.json").unlink()
    del before[stage.files.root / "seen.json"], before[stage.files.job_script]
    assert stage.run(WITH_RESULT="1") == 0
    for name in ("failure.json", "exit_code"):
        stage.files.done.unlink(missing_ok=True)
        (stage.files.root / name).write_text("1\n")
        assert stage.run(WITH_RESULT="1") == 0
    assert not (stage.files.root / "seen.json").exists()
    (stage.files.root / "failure.json").unlink()
    stage.files.exit_code.write_text("75\n")
    assert stage.run(WITH_RESULT="1") == 0
    assert (stage.files.root / "seen.json").exists()


def test_modules_are_loaded_or_the_job_says_what_is_missing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    values = stage.manifest().model_dump(mode="json")
    values["circumstance"]["placement"]["modules"] = ["openmpi/4", "cuda"]
    stage.manifest = lambda: Manifest.model_validate(values)  # type: ignore[method-assign]
    assert stage.run() == 2
    assert re.fullmatch(
        "bundle: there is no module command on .*\n"
        "-> leave out the key modules, or name those of this site\n",
        stage.stderr(),
    )
    stage.files.exit_code.unlink()
    init = tmp_path / "modules" / "init"
    init.mkdir(parents=True)
    (init / "bash").write_text('module() { echo "$@" >>loaded; [ "$2" != cuda ]; }\n')
    assert stage.run(MODULESHOME=str(tmp_path / "modules")) == 2
    assert (stage.files.root / "loaded").read_text() == "load openmpi/4\nload cuda\n"
    assert stage.stderr().endswith("bundle: module cuda cannot be loaded\n-> see: module avail\n")


def test_what_a_module_sets_does_not_choose_algorithms(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    values = stage.manifest().model_dump(mode="json")
    values["circumstance"]["placement"]["modules"] = ["cuda"]
    stage.manifest = lambda: Manifest.model_validate(values)  # type: ignore[method-assign]
    init = tmp_path / "modules" / "init"
    init.mkdir(parents=True)
    gone = {
        "SINGULARITYENV_CUDA_PATH": "/foreign",
        "CUDA_FORCE_PTX_JIT": "1",
        "CUBLASLT_LOG_LEVEL": "5",
        "NCCL_P2P_DISABLE": "1",
        "NVRTC_DISABLE_CONCURRENT_NVVM": "1",
        "PYTHONOPTIMIZE": "2",
    }
    stays = {"CUDA_VISIBLE_DEVICES": "0,1", "LD_LIBRARY_PATH": "/opt/mpi/lib"}
    exports = "".join(f"export {name}={value}\n" for name, value in {**gone, **stays}.items())
    (init / "bash").write_text(f"module() {{\n{exports}}}\n")
    assert stage.run(WITH_RESULT="1", MODULESHOME=str(tmp_path / "modules")) == 0
    environ = stage.seen()["environ"]
    assert isinstance(environ, dict)
    assert [name for name in gone if name in environ] == []
    assert {name: environ[name] for name in stays} == stays


def test_others_have_no_effect_without_a_scheduler_and_this_is_said() -> None:
    values = manifest_values()
    values["circumstance"]["placement"]["others"] = {"j": "y", "m": "abe"}
    assert script_warnings(Manifest.model_validate(values), SITE) == [
        "others: site local has no scheduler: m has no effect there"
    ]
