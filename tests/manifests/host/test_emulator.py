"""The emulator of other processors: found, asked, and each way in which a rerun cannot use it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from container.progress import Silent
from container.trouble import Trouble
from jobtemplates.launcher import ContainerUse
from jobtemplates.script import LaunchContext, render_script
from jobtemplates.sites import load_site, profile_folders
from manifests.flows.emulation import plan_emulation
from manifests.host.context import HostContext, read_host_context
from manifests.host.emulator import (
    PROGRAM,
    emulator_finding,
    find_emulator,
    parse_features,
)
from manifests.record.run_files import RunFiles
from manifests.record.schema import GpuPromise, Manifest

PROJECT = Path(__file__).resolve().parents[3]
INSTALL = f"install {PROGRAM} (Debian and Ubuntu: apt-get install qemu-user-static)"

#: Registers of leaf 1 and 7 with AVX, FMA and AVX2, and without AVX2.
WITH = {"1": [0, 0, 1 << 28 | 1 << 12, 1 << 25], "7": [0, 1 << 5, 0, 0]}
WITHOUT = {"1": [0, 0, 1 << 28 | 1 << 12, 1 << 25], "7": [0, 0, 0, 0]}

FAKE = """#!/bin/bash
case "$1 $2" in
"--version ") echo "qemu-x86_64 version 7.2.22 (Debian 1:7.2)" ;;
"-cpu help") printf 'x86 Haswell   (alias)\\nx86 EPYC-Milan   (alias)\\n'; exit 1 ;;
"-cpu Haswell,check=off") echo '{with_avx2}' ;;
"-cpu EPYC-Milan,check=off") echo '{without}' ;;
esac
"""


def write_emulator(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / PROGRAM
    program.write_text(text)
    program.chmod(0o755)
    return program


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    extended = {"2147483649": [0, 0, 0, 0]}
    text = FAKE.replace("{with_avx2}", json.dumps({**WITH, **extended}))
    text = text.replace("{without}", json.dumps({**WITHOUT, **extended}))
    made = write_emulator(tmp_path / "bin", text)
    monkeypatch.setenv("PATH", f"{made.parent}:/usr/bin:/bin")
    return made


def host() -> HostContext:
    return read_host_context(PROJECT, Silent())


def plan(model: str, manifest: Manifest, site: str = "local") -> Any:
    context = host()
    return plan_emulation(model, manifest, load_site(site, profile_folders({})), context)


def refusal(act: Callable[[], object]) -> Tuple[List[str], str]:
    with pytest.raises(Trouble) as caught:
        act()
    return list(caught.value.problems), caught.value.next_step


def test_it_is_asked_for_its_version_models_and_features(program: Path) -> None:
    found = find_emulator(host().environ)
    assert (found.program, found.version) == (program, "7.2.22")
    assert found.models == ("Haswell", "EPYC-Milan")
    assert emulator_finding(host().environ).found == (
        f"QEMU 7.2.22 ({program}), for `rerun --emulate`"
    )


def test_registers_of_cpuid() -> None:
    text = json.dumps({**WITH, "2147483649": [0, 0, 1 << 5, 1 << 29]})
    assert parse_features(text) == {"avx", "fma", "sse", "avx2", "abm", "lm"}


def test_what_cannot_be_emulated(
    program: Path, manifest: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = manifest()
    gpus = GpuPromise(driver="525", capabilities=["7.0"])
    with_gpus = made.model_copy(update={"promises": made.promises.model_copy(update={"gpu": gpus})})
    for_instance = f"for instance Haswell, EPYC-Milan; all: {program} -cpu help"
    cases: Dict[str, Tuple[List[Any], str, str]] = {
        "unknown": (
            ["help", made],
            "--emulate help: QEMU 7.2.22 has no such processor",
            for_instance,
        ),
        "with an option": (
            ["Haswell,-avx2", made],
            "--emulate Haswell,-avx2: QEMU 7.2.22 has no such processor; did you mean Haswell?",
            for_instance,
        ),
        "without AVX2": (
            ["EPYC-Milan", made],
            "--emulate EPYC-Milan: that processor, as QEMU 7.2.22 emulates it, lacks avx2: "
            "the bits would not be those of the run",
            "choose another: Haswell, Broadwell, Skylake-Client, EPYC, EPYC-Rome",
        ),
        "GPUs": (
            ["Haswell", with_gpus],
            "--emulate: this run used GPUs, and QEMU emulates processors only",
            "leave the option out",
        ),
        "a cluster": (
            ["Haswell", made, "slurm"],
            "--emulate: jobs of site slurm run on other hosts, the emulator is on this one",
            "add --site local",
        ),
    }
    for words, problem, step in cases.values():
        assert refusal(lambda words=words: plan(*words)) == ([problem], step)
    monkeypatch.setenv("PATH", "/nowhere")
    problem = f"--emulate: {PROGRAM} is not on PATH"
    assert refusal(lambda: plan("Haswell", made)) == ([problem], INSTALL)
    assert emulator_finding(host().environ).found == (
        f"{PROGRAM} is not on PATH; only `rerun --emulate` needs it: {INSTALL}"
    )


def test_a_program_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write_emulator(tmp_path / "bin", "#!/bin/bash\necho broken >&2\nexit 3\n")
    monkeypatch.setenv("PATH", f"{made.parent}:/usr/bin:/bin")
    problems, step = refusal(lambda: find_emulator(host().environ))
    assert problems == [f"`{made} --version` ended with status 3:\nbroken"]
    assert step == INSTALL
    write_emulator(tmp_path / "bin", "#!/bin/bash\necho something else\n")
    assert refusal(lambda: find_emulator(host().environ)) == (
        [f"{made}: does not say its version and its processors"],
        INSTALL,
    )


def test_the_job_script_starts_the_trainer_in_it(
    program: Path, manifest: Callable[..., Manifest], tmp_path: Path
) -> None:
    made = manifest()
    emulation = plan("Haswell", made)
    again = made.model_copy(update={"circumstance": emulation.circumstance(made.circumstance)})
    assert again.circumstance.loading.iterator == "serial"
    files = RunFiles(tmp_path)
    emulation.fill(files)
    assert files.cpuinfo.read_text() == (
        "processor\t: 0\nmodel name\t: Haswell (emulated by QEMU 7.2.22)\n"
        "flags\t\t: avx avx2 fma sse\n\n"
    )
    use = ContainerUse("singularity", (), in_user_namespace=True)
    script = render_script(
        again, files, load_site("local", profile_folders({})), LaunchContext(use, as_root=False)
    )
    command = re.sub(r" \\\n +", " ", script)
    assert "/bundle/emulator -cpu Haswell,check=off /usr/bin/python3 -m trainer" in command
    assert f'"source={program}",destination=/bundle/emulator,ro' in command
    assert f'"source={files.cpuinfo}",destination=/proc/cpuinfo,ro' in command
    assert "emulated" in again.as_written()["circumstance"]
    assert "emulated" not in made.as_written()["circumstance"]
