"""benchmarks.gpu without a GPU: what it refuses, whom it measures how, and the page it makes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from benchmarks.gpu import (
    PROJECT,
    TF32,
    ask,
    command,
    contests,
    environment_of,
    make_data,
    measured,
    parse,
    problem_of_data,
)
from benchmarks.gpu_contest import BUNDLE, MARK, TORCH, TORCH_TF32, Contest, Outcome, contest_of
from benchmarks.gpu_contest import timed as timed_steps
from benchmarks.gpu_page import page_of
from benchmarks.gpu_profile import Recorder, own_times, text
from benchmarks.gpu_profile import parse as parse_profile
from benchmarks.gpu_table import page
from manifests.config.determinism import determinism_for

GPU = "Tesla V100-SXM2-16GB (compute capability 7.0, 80 multiprocessors)"
MACHINE = {
    "host": "n1", "gpus": [GPU, GPU], "driver": "535.104.05",
    "versions": {"cupy": "13.6.0", "chainer": "7.8.1"},
}  # fmt: skip


def contest(**changes: Any) -> Contest:
    values = {
        "who": BUNDLE, "arch": "resnet50", "precision": "float32", "data": "synthetic",
        "deterministic": True, "gpus": 1, "batch": 64, "warmup": 10, "steps": 20, "rounds": 3,
        "workers": 8, "folder": "/data",
    }  # fmt: skip
    return Contest(**{**values, **changes})


def run(*words: str) -> Tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=PROJECT, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="there is CuPy here")
def test_without_cupy_nothing_is_measured() -> None:
    assert run("benchmarks.gpu") == (
        2,
        "",
        f"bench-gpu: nothing was measured: CuPy cannot be imported by {sys.executable}: "
        "No module named 'cupy'\n"
        "-> run it on a machine with NVIDIA GPUs, with CuPy, Chainer and mpi4py: docs/gpu.md\n",
    )


@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="there is a driver here")
def test_without_a_driver_nothing_is_installed() -> None:
    assert run("benchmarks.gpu_host") == (
        2,
        "",
        "bench-gpu: nothing was measured: no NVIDIA driver is loaded on this host\n"
        "-> run it on a machine with NVIDIA GPUs, with CuPy, Chainer and mpi4py: docs/gpu.md\n",
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--arch", "vgg"], "argument --arch: invalid choice: 'vgg'"),
        (["--rounds", "0"], "argument --rounds: expected a number from 1 on, found 0"),
        (["--batch", "many"], "argument --batch: invalid number value: 'many'"),
    ],
)
def test_bad_options(words: List[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(words)
    assert caught.value.code == 2
    assert problem in capsys.readouterr().err


def test_everybody_is_measured_on_one_gpu_and_the_trainer_on_all() -> None:
    found = list(contests(parse([]), 4, "/data"))
    ours = [each for each in found if each.who == BUNDLE]
    assert len(ours) == 2 * 5 * 2 * 2 * 2 == len(set(ours))
    assert {each.gpus for each in ours} == {1, 4}
    peers = [each for each in found if each.who != BUNDLE]
    assert {(each.arch, each.gpus) for each in peers} == {("resnet50", 1)}
    assert len(peers) == 2 * 2 * 2 + 2
    assert {each.who for each in found if each.precision == "mixed"} == {BUNDLE, TORCH}
    few = contests(parse(["--arch", "nin", "--precision", "mixed", "--data", "packed"]), 1, "")
    assert [(each.arch, each.deterministic) for each in few] == [("nin", True), ("nin", False)]
    assert {each.gpus for each in contests(parse(["--on-the-cpu"]), 0, "")} == {0}


def test_how_a_contestant_is_started() -> None:
    one, four = contest(), contest(gpus=4)
    started = [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu_work", one.text()]
    assert command(one, "/torch/python") == started
    assert contest_of(started[-1]) == one
    words = command(four, "/torch/python")
    assert (words[0], words[words.index("-np") + 1]) == ("mpirun", "4")
    assert words[-6:] == [*started[:-1], four.text()]
    peer = contest(who=TORCH)
    assert command(peer, "/torch/python") == [
        "/torch/python", "-W", "ignore", "-m", "benchmarks.gpu_torch", peer.text(),
    ]  # fmt: skip


def test_determinism_is_the_knobs_of_a_job_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_ALGO", "Tree")
    knobs = determinism_for("cuda12").environment
    strict, free = environment_of(contest()), environment_of(contest(deterministic=False))
    assert {name: strict[name] for name in knobs} == knobs
    of_gpus = set(knobs) - set(determinism_for("cpu").environment)
    assert of_gpus & set(free) == {TF32}
    assert free["OPENBLAS_NUM_THREADS"] == "1"
    peer = environment_of(contest(who=TORCH))
    assert {name: peer.get(name) for name in of_gpus} == {name: knobs[name] for name in of_gpus}
    assert "OPENBLAS_NUM_THREADS" not in peer
    assert TF32 not in environment_of(contest(who=TORCH_TF32, deterministic=False))


def test_rounds_begin_and_end_with_an_idle_gpu() -> None:
    called = []
    rates = timed_steps(
        lambda: called.append("step"), lambda: called.append("wait"), contest(steps=2, warmup=1)
    )
    assert called == ["step", *["wait", "step", "step", "wait"] * 3]
    assert len(rates) == 3


def stub(text: str) -> List[str]:
    return [sys.executable, "-c", text]


def test_an_answer_among_other_words() -> None:
    assert ask(stub(f"print('noise'); print('{MARK}[1.5, 2]'); print('more')"), {}) == [1.5, 2]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (stub("raise SystemExit('no memory left')"), "no memory left"),
        (stub("import os; os._exit(3)"), "exit code 3, without a word"),
        (stub(f"print('{MARK}[]'); import sys; sys.exit('late')"), "late"),
        (["/no/python"], "[Errno 2] No such file or directory: '/no/python'"),
    ],
)
def test_what_a_contestant_says_instead(words: List[str], problem: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        ask(words, {})
    assert str(caught.value) == problem


def test_one_that_fails_leaves_the_others_their_figures() -> None:
    found = measured(contest(who=TORCH), "/no/python")
    assert (found.rates, found.problem) == ([], "[Errno 2] No such file or directory: '/no/python'")
    assert json.loads(json.dumps(found.values()))["problem"] == found.problem


def test_the_page() -> None:
    outcomes = [
        Outcome(contest(), [300.0, 310.4, 290.0]),
        Outcome(contest(who=TORCH), [400.0, 388.0, 380.0]),
        Outcome(contest(data="packed"), problem="out of memory"),
        Outcome(contest(who=TORCH, data="packed"), [390.0]),
        Outcome(contest(gpus=2), [540.0, 550.0, 545.0]),
    ]
    text = page(MACHINE, "2026-11-23", outcomes, ["A note."])
    begin, _, rest = text.partition("\nA figure is")
    assert begin == (
        "# Speed on GPUs\n\n"
        f"Made by `make bench-gpu` on 2026-11-23, on n1: 2 x {GPU}; NVIDIA driver 535.104.05. "
        "Another machine has\nother figures.\n\n"
        "Versions: chainer 7.8.1, cupy 13.6.0.\n"
    )
    assert "median of 3 rounds of 20 training steps" in rest
    assert text[text.index("A note.") :] == (
        "A note.\n\n"
        "## Networks\n\n"
        "| network | precision | data | deterministic | GPUs | batch | images/s | range "
        "| times one GPU |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| resnet50 | float32 | synthetic | yes | 1 | 64 | 300 | 290 – 310 | 1.00 |\n"
        "| resnet50 | float32 | packed | yes | 1 | 64 | failed: out of memory | – | – |\n"
        "| resnet50 | float32 | synthetic | yes | 2 | 64 | 545 | 540 – 550 | 1.82 |\n\n"
        "## Beside PyTorch on the same GPU\n\n"
        "| network | precision | data | deterministic | GPUs | batch | images/s | range "
        "| bundle beside it |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| resnet50, PyTorch | float32 | synthetic | yes | 1 | 64 | 388 | 380 – 400 | 0.77 |\n"
        "| resnet50, PyTorch | float32 | packed | yes | 1 | 64 | 390 | 390 – 390 | – |\n"
    )


def test_a_trial_claims_nothing() -> None:
    text = page({}, "2026-11-23", [Outcome(contest(gpus=0), [9.0])], [])
    assert text.startswith(
        "# Speed on GPUs: a trial of the script\n\nNothing was measured: made on 2026-11-23 with "
        "`--on-the-cpu`, which shows that the script works.\n"
    )


def test_both_readers_of_packed_data_get_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from benchmarks import gpu
    from manifests.record.packed_file import PackedFile

    monkeypatch.setattr(gpu, "IMAGES", 3)
    make_data(tmp_path)
    pixels = np.load(tmp_path / "pixels.npy")
    file = PackedFile(tmp_path / "list.pack")
    assert pixels.shape == (3, 3, 256, 256)
    assert [row.tobytes() for row in pixels] == [file.record(index) for index in range(3)]


def test_without_the_package_for_packed_data_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    monkeypatch.setattr("benchmarks.gpu.IMAGES", 9)
    assert problem_of_data(tmp_path) == (
        "the package simplejpeg, which tells damaged JPEG files, cannot be imported: "
        "import of simplejpeg halted; None in sys.modules"
    )
    assert not (tmp_path / "list.pack").exists()


# --- the page of several calls, and the profile -----------------------------------------------


def line(*outcomes: Outcome, machine: Any = None) -> str:
    values = [outcome.values() for outcome in outcomes]
    head = {"day": "2026-01-02", "machine": machine or MACHINE, "notes": ["Interrupted."]}
    return json.dumps({**head, "results": values})


def test_the_lines_of_several_calls_make_one_page() -> None:
    """Each peer beside the same batch."""
    small, large = contest(precision="mixed"), contest(precision="mixed", batch=256)
    first = line(Outcome(small, [100.0]), Outcome(contest(precision="mixed", who=TORCH), [200.0]))
    peer = contest(precision="mixed", batch=256, who=TORCH)
    made = page_of([first, line(Outcome(large, [300.0]), Outcome(peer, [400.0]))])
    assert made.count("Interrupted.") == 1
    rows = [row for row in made.splitlines() if "resnet50, PyTorch" in row]
    assert [row.split("|")[6].strip() for row in rows] == ["64", "256"]
    assert [row.split("|")[-2].strip() for row in rows] == ["0.50", "0.75"]


def test_lines_of_two_machines_make_no_page() -> None:
    lines = [line(), line(machine={**MACHINE, "driver": "550.1"})]
    with pytest.raises(SystemExit) as said:
        page_of(lines)
    assert str(said.value) == "gpu_page: the lines are of machines of more than one driver"


def test_times_of_functions_are_their_own() -> None:
    moments = iter(range(100))
    recorder = Recorder(lambda: next(moments))
    recorder.begin("conv")  # 0
    recorder.end()  # 1
    recorder.begin("conv, backward")  # 2
    recorder.begin("gradient")  # 3
    recorder.end()  # 4
    recorder.end()  # 5
    spans = recorder.spans()
    assert own_times(spans, lambda begin, end: float(end - begin)) == [
        ("conv, backward", 1, 2.0), ("conv", 1, 1.0), ("gradient", 1, 1.0),
    ]  # fmt: skip
    made = text(contest(precision="mixed"), 9.5, spans, spans, lambda a, b: float(b - a))
    assert made.splitlines()[:2] == [
        "resnet50 mixed, batch 64, deterministic",
        "9.50 ms a step; its forward and backward pass: 5000.00 ms until the host has asked for "
        "all, 5.00 ms of the GPU",
    ]
    assert made.splitlines()[4] == "  2.000      1  conv, backward"


def test_a_profile_is_of_one_gpu() -> None:
    given = parse_profile(["--precision", "float32", "--batch", "8", "--free"])
    assert (given.gpus, given.batch, given.deterministic, given.precision) == (
        1, 8, False, "float32",
    )  # fmt: skip
    assert contest_of(given.text()) == given
    assert parse_profile(["--on-the-cpu"]).gpus == 0
