"""`rerun --emulate` from outside, and the page that it leaves.

The emulator here is a script that runs the trainer on this processor, so that a rerun takes as long
as another; that a real one gives the same bits is shown in tests/trainer/test_emulated.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from manifests.host.emulator import PROGRAM
from tests.integration.conftest import Bench
from tests.integration.test_rerun import run_directory_in

pytestmark = [pytest.mark.image, pytest.mark.long]

#: CPUID's leaf 1 has FMA and AVX, leaf 7 has AVX2.
REGISTERS = {"1": [0, 0, 1 << 28 | 1 << 12, 0], "7": [0, 1 << 5, 0, 0], "2147483649": [0] * 4}

SCRIPT = f"""#!/bin/bash
case "$1 $2" in
"--version ") echo "qemu-x86_64 version 7.2.99" ;;
"-cpu help") echo "x86 Haswell   (alias)" ;;
"-cpu Haswell,check=off")
    if [ "$4" = -I ]; then echo '{json.dumps(REGISTERS)}'; else exec "${{@:3}}"; fi ;;
*) exit 9 ;;
esac
"""


@pytest.fixture
def emulating(finished: tuple[Bench, Path], tmp_path: Path) -> tuple[Bench, Path]:
    bench, run = finished
    program = tmp_path / PROGRAM
    program.write_text(SCRIPT)
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return Bench(bench.root, bench.project, environment), run


def test_a_rerun_on_an_emulated_processor(emulating: tuple[Bench, Path], tmp_path: Path) -> None:
    bench, run = emulating
    out = tmp_path / "out"
    done = bench.bundle("rerun", run, "--emulate", "Haswell", "--out", out)
    assert "verdict: identical" in done.stdout.splitlines()
    again = run_directory_in(done.stderr)
    words = (
        "QEMU 7.2.99 emulates the processor Haswell: a step takes some hundred times as long",
        f"report {again / 'report.html'}",
    )
    for text in words:
        assert f"bundle: {text}\n" in done.stderr
    seen = json.loads((again / "result.json").read_text())["observed"]
    assert seen["cpu_model"] == "Haswell (emulated by QEMU 7.2.99)"
    assert seen["cpu_features"] == ["avx", "avx2", "fma"]
    page = (again / "report.html").read_text()
    assert "run B gave the same bits as run A." in page
    assert "Haswell (emulated by QEMU 7.2.99)" in page
    assert bench.bundle("verify", again).returncode == 0
    # A rerun of it is one of the run, on this processor, unless another is asked for.
    third = bench.bundle("rerun", again, "--out", out, "--dry-run")
    assert "/bundle/emulator" not in third.stdout


def test_bad_input_leaves_nothing(emulating: tuple[Bench, Path], tmp_path: Path) -> None:
    bench, run = emulating
    out = tmp_path / "out"
    options = ["--out", out]
    cases = {
        ("--emulate", "Pentium"): (
            "--emulate Pentium: QEMU 7.2.99 has no such processor\n"
            f"-> for instance Haswell; all: {tmp_path / PROGRAM} -cpu help\n"
        ),
        ("--emulate", "Haswell", "--site", "slurm"): (
            "--emulate: jobs of site slurm run on other hosts, the emulator is on this one\n"
            "-> add --site local\n"
        ),
        ("--emulate", "Haswell", "--zoom"): (
            "--zoom: not together with --emulate: it asks whether this machine agrees with itself\n"
            "-> leave one of them out\n"
        ),
    }
    for words, message in cases.items():
        done = bench.bundle("rerun", run, *words, *options, code=2)
        assert done.stderr.endswith(f"bundle: {message}"), done.stderr
        assert done.stdout == ""
        assert not out.exists()
