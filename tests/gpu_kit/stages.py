"""The stages on the machine with the GPU, in order of value. Standard library only, Python 3.9 on.

python3 -m tests.gpu_kit.stages [--pretend] [--seconds N] [facts] [tests] [verbs] [bench]

Without names: all of them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tarfile
import time
from pathlib import Path
from typing import Callable, Dict

from tests.gpu_kit import bench, verbs
from tests.gpu_kit.inside import (
    BEGUN,
    KIT,
    OUT,
    PROJECT,
    RESULTS,
    ROOT,
    TREE,
    Inside,
    driver_libraries,
    last_line,
    meta,
    run,
    say,
    write,
)

#: The most seconds that a stage may take, of what is left.
BUDGET = {"facts": 60, "tests": 190, "verbs": 220, "bench": 220}

FACTS = """
import os, time; begun = time.time()
import numpy, cupy, chainer, mpi4py
print("numpy", numpy.__version__, "cupy", cupy.__version__, "chainer", chainer.__version__)
print("import seconds", round(time.time() - begun, 1))
from cupy.cuda import compiler
os.makedirs(compiler.get_cache_dir(), exist_ok=True)
with open(os.path.join(compiler.get_cache_dir(), "written"), "w"): print("kernels can be kept")
if os.environ.get("KIT_PRETEND"): raise SystemExit
runtime = cupy.cuda.runtime
print("driver api", runtime.driverGetVersion(), "gpus", runtime.getDeviceCount())
p = runtime.getDeviceProperties(0)
print(p["name"].decode(), p["major"], p["minor"], p["multiProcessorCount"])
from cupy_backends.cuda.libs import cublas, cudnn, curand, nvrtc
from cupy.cuda import nccl
print("cudnn", cudnn.getVersion(), "nccl", nccl.get_version(), "nvrtc", nvrtc.getVersion())
a = cupy.asarray(numpy.random.RandomState(0).rand(512, 512).astype("f"))
expected = cupy.asnumpy(a).astype("d") @ cupy.asnumpy(a).astype("d")
wrong = lambda found: float(abs(cupy.asnumpy(found) - expected).max() / expected.max())
print("sgemm error", wrong(a @ a), "hgemm error", wrong(a.astype("e") @ a.astype("e")))
print("elementwise", float((a * 2 + 1).sum()), "sort", float(cupy.sort(a.ravel())[0]))
print("random", cupy.random.RandomState(1).rand(3))
import chainer.functions as F
for kind in "fe":
    x = chainer.Variable(cupy.asarray(numpy.random.RandomState(0).rand(8, 16, 32, 32).astype(kind)))
    w = chainer.Variable(cupy.asarray(numpy.random.RandomState(1).rand(16, 16, 3, 3).astype(kind)))
    with chainer.using_config("use_cudnn", "always"):
        y = F.convolution_2d(x, w, pad=1); F.sum(F.cast(y, "float32")).backward()
    print("conv", kind, float(y.array.astype("f").mean()), float(w.grad.astype("f").mean()))
comm = nccl.NcclCommunicator(1, nccl.get_unique_id(), 0)
comm.allReduce(a.data.ptr, a.data.ptr, a.size, nccl.NCCL_FLOAT, nccl.NCCL_SUM, 0)
runtime.deviceSynchronize(); print("nccl allreduce ok")
print("facts ok")
"""


def facts(inside: Inside, left: float) -> bool:
    code, text = run(["nvidia-smi"], 30)
    write("facts.txt", f"{text}\n{run(['uname', '-r', '-m'], 9)[1]}")
    if code and not inside.pretend:
        say(f"no GPU here: nvidia-smi: {last_line(text)}")
        return False
    write("facts.txt", f"driver libraries: {driver_libraries()}")
    write("facts.txt", run(["cat", "/proc/driver/nvidia/version"], 9)[1])
    if not inside.find(FACTS):
        say("the image cannot be entered, or its libraries do not work: facts.txt has every try")
        return False
    # cuDNN ends the process when it is asked for a part that is not there: that probe is left out.
    lock = json.loads((ROOT / "opt/bundle/lock.json").read_text())
    lock["probes"] = [probe for probe in lock["probes"] if probe["name"] != "cuDNN's parts"]
    (KIT / "lock.json").write_text(json.dumps(lock))
    command = ["python3", "/opt/bundle/check_pins.py", KIT / "lock.json"]
    code, text = run(inside.argv(command), 100)
    write("facts.txt", f"== check_pins (without cudnn_adv): exit code {code}\n{text}")
    say(f"check_pins without cudnn_adv: exit code {code}")
    return True


def tests(inside: Inside, left: float) -> bool:
    base, report = KIT / "pytest", KIT / "junit.xml"
    shutil.rmtree(base, ignore_errors=True)
    words = ["python3", "-m", "pytest", "-p", "no:cacheprovider", "-rs", "-vv", "--durations=15"]
    words += ["-o", "junit_family=xunit1", f"--junitxml={report}", f"--basetemp={base}"]
    chosen = ["-m", "gpu", "tests/trainer"]
    if inside.pretend:
        # All of them are skipped without a GPU, so a whole run on the CPU goes along.
        names = ["test_on_gpu.py", "test_whole_runs_on_gpu.py"]
        names += ["test_mpi_runs.py::test_a_test_run_evaluates_after_each_step"]
        chosen = [f"tests/trainer/{name}" for name in names]
    env = {"PYTHONPATH": TREE / "pytest", "PYTHONDONTWRITEBYTECODE": "1"}
    argv = inside.argv([*words, *chosen], (), env, PROJECT)
    code, text = run(argv, left)
    write("tests.txt", text)
    if report.exists():
        shutil.copy(report, RESULTS / report.name)
    print("\n".join(text.splitlines()[-25:]), flush=True)
    return code == 0


STAGES: Dict[str, Callable[[Inside, float], bool]] = {
    "facts": facts,
    "tests": tests,
    "verbs": verbs.stage,
    "bench": bench.stage,
}


def send_home() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tarfile.open(OUT / "results.tar.xz.new", "w:xz", preset=1) as tar:
        tar.add(RESULTS, "results")
    (OUT / "results.tar.xz.new").rename(OUT / "results.tar.xz")
    for name in ("facts.txt", "junit.xml", "bench.jsonl", "profile.txt", "verbs.json"):
        if (RESULTS / name).exists():
            shutil.copy(RESULTS / name, OUT / name)


def one_stage(name: str, inside: Inside, left: float) -> bool:
    begun = time.monotonic()
    say(f"== {name}")
    try:
        good = STAGES[name](inside, min(left, BUDGET[name]))
    except Exception as error:  # the others have their turn
        good = False
        say(f"{name}: {type(error).__name__}: {error}")
    say(f"== {name}: {'ok' if good else 'FAILED'} in {time.monotonic() - begun:.0f} s")
    send_home()
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="on_gpu.sh run")
    parser.add_argument("--pretend", action="store_true", help="a rehearsal without a GPU")
    parser.add_argument("--seconds", type=float, default=500, help="for all stages (500)")
    parser.add_argument("stages", nargs="*", help=", ".join(STAGES))
    given = parser.parse_args()
    unknown = sorted({*given.stages} - {*STAGES})
    if unknown:
        parser.error(f"no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    link = Path(meta()["apptainer"])
    if not link.exists():  # its programs know their loader by an absolute path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(TREE / "apptainer")
    inside = Inside(given.pretend)
    chosen = {"facts", *(given.stages or STAGES)}
    ended: Dict[str, bool] = {}
    for name in STAGES:
        if name in chosen:
            ended[name] = one_stage(name, inside, given.seconds - (time.monotonic() - BEGUN))
        if not ended["facts"]:
            break
    write("facts.txt", json.dumps(ended))
    send_home()
    print(json.dumps(ended))
    return 0 if all(ended.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
