"""The GPU kit without a GPU: scripts start, configs are valid, and slimming loses no code."""

from __future__ import annotations

import ctypes
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from manifests.config.combinations import check_combinations
from manifests.config.config_file import parse_config
from manifests.doctor.packages import parse_pins
from tests.gpu_kit import bench, fatbin, host_site, verbs
from tests.gpu_kit.inside import KERNELS, Inside
from tests.gpu_kit.inside import KIT as THERE

PROJECT = Path(__file__).resolve().parents[1]
KIT = PROJECT / "tests" / "gpu_kit"


def start(*words: str) -> Tuple[int, str, str]:
    done = subprocess.run([sys.executable, *words], cwd=PROJECT, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_stages_need_no_package() -> None:
    """-S: the GPU machine's Python has the standard library only."""
    code, out, err = start("-S", "-m", "tests.gpu_kit.stages", "--help")
    assert (code, err) == (0, "")
    assert "facts, tests, verbs, bench" in out
    code, out, err = start("-S", "-m", "tests.gpu_kit.shim", "--version")
    assert (code, out, err) == (0, "apptainer version 1.4.5-chroot\n", "")


def test_a_stage_that_there_is_not() -> None:
    code, _, err = start("-m", "tests.gpu_kit.stages", "runs")
    assert code == 2
    assert err.endswith("error: no stage runs; there are facts, tests, verbs, bench\n")


def test_the_command_line_starts_by_another_python() -> None:
    code, out, err = start("-m", "tests.gpu_kit.bundle_here", "compare", "--help")
    assert (code, err) == (0, "")
    assert "compare" in out


@pytest.mark.parametrize("name", ["make_kit.sh", "on_gpu.sh"])
def test_scripts_are_clean(name: str) -> None:
    shellcheck = shutil.which("shellcheck")
    words = [shellcheck] if shellcheck else ["bash", "-n"]
    done = subprocess.run([*words, str(KIT / name)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "case"), [*verbs.CASES.items(), *verbs.REHEARSAL.items()], ids=lambda value: str(value)
)
def test_the_configs_are_those_that_submit_takes(name: str, case: verbs.Case) -> None:
    data = {"train": "t/l", "val": "v/l", "mean": "m", "out": "o", "jobname": name}
    config = parse_config({**verbs.BASE, **case.keys, **data}, "c.json")
    ranks = config.ranks_per_node or 1
    problems = check_combinations(
        config, limits=[], ranks=ranks, train_samples=1000, val_samples=100
    )
    at_submit = config.stack == "cpu" and case.refusal
    assert (case.refusal in problems[0]) if at_submit else (problems == [])


def test_benchmarks_take_the_options() -> None:
    from benchmarks.gpu import parse

    for words in (*bench.PLANS.values(), *bench.REHEARSAL.values()):
        assert parse(["--json", *words, "--torch-python", "p", "--folder", "f"]).json


def test_profiles_take_the_options() -> None:
    from benchmarks.gpu_profile import parse

    assert {*bench.PROFILED} <= {*bench.PLANS, *bench.REHEARSAL}
    for words in bench.PROFILED.values():
        assert parse(words).rounds == 1


def test_the_packages_of_the_command_line_travel() -> None:
    """All that are pinned: a verb that imports a new one must not fail first on a GPU machine."""
    pins = {*parse_pins((PROJECT / "requirements/host.txt").read_text(), {})}
    lock = json.loads((PROJECT / "container/locks/cuda12.json").read_text())
    in_image = {file["name"] for file in lock["python"]["files"]}
    assert pins >= host_site.FIGURES
    assert {"click", "simplejpeg", "rocrate"} <= {*host_site.names()}
    assert pins - {*host_site.names()} == host_site.FIGURES | (pins & in_image)


def test_packages_of_another_python_do_not_travel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_site, "PYTHON", (2, 7))
    with pytest.raises(SystemExit) as said:
        host_site.main(tmp_path / "site")
    assert str(said.value) == (
        "make_kit: .venv has another Python than the image: make dev PYTHON=python2.7"
    )
    assert not (tmp_path / "site").exists()


def test_packages_are_copied_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host_site, "PYTHON", sys.version_info[:2])
    monkeypatch.setattr(host_site, "names", lambda: ["click"])
    host_site.main(tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("*")) if "click" in path.name]
    code, out, err = start(
        "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import click; print(1)"
    )
    assert (code, out, err) == (0, "1\n", "")
    assert not list(tmp_path.rglob("__pycache__"))


def test_what_is_good() -> None:
    same = {"case": "a", "submit": 0, "rerun": 0, "rerun_verdict": "identical"}
    resumed = {"killed": True, "resume": 0, "resumed_verdict": "identical"}
    assert verbs.good(same) and verbs.good({**same, **resumed})
    for wrong in (
        {"rerun_verdict": "diverged"}, {"submit": 2}, {"resumed_verdict": "inconclusive"},
        {"killed": False}, {"resume": 2},
    ):  # fmt: skip
        assert not verbs.good({**same, **resumed, **wrong})
    assert not verbs.good({"case": "a", "submit": 2, "said": "…"})
    assert verbs.good({"case": "a", "submit": 2, "refused": True, "said": "…"})
    assert not verbs.good({"case": "a", "submit": 0, "refused": False, "said": ""})


def test_ways_into_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.gpu_kit.inside.meta", lambda: {"apptainer": "/a"})
    bind = (Path("/data set"), "/data", "ro")
    words = Inside(True, "apptainer", ["--userns"]).argv(["true"], [bind], {"A": 1}, "/code")
    assert words[:4] == ["/a/usr/bin/apptainer", "--quiet", "exec", "--userns"]
    assert "type=bind,source=/data set,destination=/data,ro" in words
    assert words[-1] == "true" and "A=1" in words and "KIT_PRETEND=1" in words
    # The image's own home is read-only: CuPy could not keep the kernels that it compiles.
    assert f"CUPY_CACHE_DIR={KERNELS}" in words
    assert f"type=bind,source={THERE},destination={THERE}" in words and THERE in KERNELS.parents
    script = Inside(False, "chroot").argv(["true"], [bind], {"A": "b c"}, "/code")
    assert script[:4] == ["unshare", "--mount", "bash", "-c"] and script[-1] == "true"
    assert "mount --bind '/data set'" in script[4] and "A=" in script[4]


# --- fat binaries -----------------------------------------------------------------------------

#: (kind, architecture, compressed, code)
Part = Tuple[int, int, bool, bytes]
SASS = b"\x7fELF .text.hgemm_128x64 " + bytes(range(256)) * 40
OTHER = b"\x7fELF .text.sgemm_old " + bytes(range(256)) * 40
INT8 = b"\x7fELF .text.imma_s8s8_kernel " + bytes(range(256)) * 40
PTX = b".version 7.0 .target sm_80 " * 50


def entry(lz4: Any, part: Part) -> bytes:
    kind, arch, compressed, code = part
    payload, packed = code, 0
    if compressed:
        room = ctypes.create_string_buffer(lz4.LZ4_compressBound(len(code)))
        packed = lz4.LZ4_compress_default(code, room, len(code), len(room))
        # As much again as LZ4 needs now: restored code is packed by another level.
        payload = room.raw[:packed] + bytes(64)
    flags = fatbin.LZ4 if compressed else 0
    fields = (kind, 1, 64, len(payload), packed, 0, 0, 0, arch, 0, 0, flags, 0, len(code))
    return fatbin.ENTRY.pack(*fields) + payload


def library(path: Path, lz4: Any, containers: List[List[Part]]) -> None:
    data = b"front" * 100_000
    for parts in containers:
        body = b"".join(entry(lz4, part) for part in parts)
        data += fatbin.MAGIC + struct.pack("<HHQ", 1, 16, len(body)) + body + b"between"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data + b"end" * 300_000)


@pytest.fixture
def lz4() -> Any:
    try:
        return fatbin.liblz4()
    except OSError:
        pytest.skip("there is no liblz4 here")


def test_slimmed_and_restored_code_is_the_original_s(
    tmp_path: Path, lz4: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    original, root, out = tmp_path / "original", tmp_path / "root", str(tmp_path / "code")
    elf, ptx = fatbin.ELF, fatbin.PTX
    library(
        original / "lib/libcublasLt.so.12", lz4,
        [
            [(elf, 80, True, OTHER), (elf, 90, True, SASS)],
            [(elf, 90, True, INT8)],
            [(elf, 80, True, OTHER), (ptx, 80, False, PTX)],
        ],
    )  # fmt: skip
    shutil.copytree(original, root)
    fatbin.slim(root, 90, out)
    slimmed = (root / "lib/libcublasLt.so.12").read_bytes()
    before = (original / "lib/libcublasLt.so.12").read_bytes()
    assert len(slimmed) == len(before)
    assert Path(out + ".raw").read_bytes() == SASS
    assert len(json.loads(Path(out + ".json").read_text())) == 1
    # Not restored yet, the code is not there.
    with pytest.raises(SystemExit):
        fatbin.verify(original, root, 90)
    fatbin.restore(root, out, "liblz4.so.1")
    capsys.readouterr()
    assert fatbin.verify(original, root, 90) == 0
    assert capsys.readouterr().out == "fatbin: 2 pieces are the original's, 1 dropped, 0 differ\n"
    damaged = bytearray((root / "lib/libcublasLt.so.12").read_bytes())
    damaged[-1] ^= 1
    (root / "lib/libcublasLt.so.12").write_bytes(damaged)
    assert fatbin.verify(original, root, 90) == 1
