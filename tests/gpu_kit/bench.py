"""Stage `bench`: benchmarks.gpu in the image, beside the PyTorch of the machine outside of it; then
where a step spends its time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

from tests.gpu_kit.inside import KIT, PROJECT, TREE, Inside, last_line, run, say, write

KNOBS = ("CUBLAS_", "CUDA_", "CUDNN_", "NCCL_", "NVIDIA_", "OMP_", "OPENBLAS_", "PYTHONHASHSEED")
#: A Python with PyTorch.
TORCH = os.environ.get("KIT_TORCH", "")
SHORT = ["--warmup", "5", "--steps", "10", "--rounds", "3"]
OTHERS = ["alex", "googlenet", "googlenetbn", "nin"]
PLANS: Dict[str, List[str]] = {
    "resnet50": ["--arch", "resnet50", "--data", "synthetic", "--batch", "64", *SHORT],
    "large": [
        "--arch", "resnet50", "--data", "synthetic", "--precision", "mixed", "--batch", "256",
        *SHORT,
    ],
    "packed": ["--arch", "resnet50", "--data", "packed", "--batch", "64", *SHORT],
    "others": ["--arch", *OTHERS, "--data", "synthetic", *SHORT],
}  # fmt: skip
#: After the plan of that name: benchmarks.gpu_profile.
PROFILED: Dict[str, List[str]] = {
    "resnet50": ["--arch", "resnet50", "--precision", "mixed", "--batch", "64"],
    "pretend": [
        "--on-the-cpu", "--arch", "nin", "--precision", "float32", "--batch", "1", "--steps", "1",
        "--warmup", "0",
    ],
}  # fmt: skip
REHEARSAL: Dict[str, List[str]] = {
    "pretend": [
        "--on-the-cpu", "--arch", "resnet50" if TORCH else "nin", "--data", "synthetic", "packed",
        "--precision", "float32", "--batch", "1", "--steps", "1", "--rounds", "1", "--warmup", "0",
    ],
}  # fmt: skip
PROXY = """#!/bin/bash
# PyTorch lies outside of the image: hand the call to the process that waits there.
d=%s/$$-$RANDOM; mkdir "$d"; printf '%%s\\0' "$PWD" "$@" >"$d/argv"; env -0 >"$d/env"; touch "$d/go"
while [ ! -e "$d/code" ]; do sleep 0.05; done
cat "$d/out"; cat "$d/err" >&2; exit "$(cat "$d/code")"
"""


def serve(folder: Path, python: str, stop: threading.Event) -> None:
    while not stop.is_set():
        for go in list(folder.glob("*/go")):
            go.unlink()
            answer(go.parent, python)
        time.sleep(0.05)


def answer(call: Path, python: str) -> None:
    cwd, *argv = (call / "argv").read_bytes().decode().split("\0")[:-1]
    lines = (call / "env").read_bytes().decode().split("\0")
    asked = dict(line.split("=", 1) for line in lines if "=" in line)
    env = {k: v for k, v in os.environ.items() if not k.startswith(KNOBS)}
    env.update({k: v for k, v in asked.items() if k.startswith(KNOBS) and k != "CUDA_PATH"})
    with open(call / "out", "wb") as out, open(call / "err", "wb") as err:
        code = subprocess.call([python, *argv], cwd=cwd, env=env, stdout=out, stderr=err)
    (call / "code.new").write_text(str(code))
    (call / "code.new").rename(call / "code")


def stage(inside: Inside, left: float) -> bool:
    deadline = time.monotonic() + left
    folder = KIT / "proxy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    proxy = folder / "torch-python"
    proxy.write_text(PROXY % folder)
    proxy.chmod(0o755)
    stop = threading.Event()
    given = (folder, TORCH or sys.executable, stop)
    threading.Thread(target=serve, args=given, daemon=True).start()
    good, done = True, KIT / "bench_done"
    for name, words in (REHEARSAL if inside.pretend else PLANS).items():
        if done.exists() and name in done.read_text().split():
            continue  # by an earlier call
        remaining = deadline - time.monotonic()
        if remaining < 20:
            say(f"no time for {name}")
            break
        ended, whole = measure(inside, name, [*words, "--torch-python", str(proxy)], remaining)
        if name in PROFILED:
            ended = profiled(inside, PROFILED[name], deadline - time.monotonic()) and ended
        good = good and ended
        if whole and not inside.pretend:
            with open(done, "a") as stream:
                stream.write(f"{name}\n")
    stop.set()
    return good


def measure(inside: Inside, name: str, words: List[str], left: float) -> Tuple[bool, bool]:
    """Whether there is a figure, and whether all there are to be were measured."""
    # SIGINT makes benchmarks.gpu print what it has.
    limit = ["timeout", "--preserve-status", "-s", "INT", f"{left - 10:.0f}"]
    command = ["python3", "-W", "ignore", "-m", "benchmarks.gpu", "--json", *words]
    argv = [*limit, *command, "--folder", KIT / "proxy"]
    # Packed data is made by code of the host, which needs a package that the image has not.
    env = {"PYTHONPATH": TREE / "host/site"}
    code, text = run(inside.argv(argv, (), env, PROJECT), left)
    write("tests.txt", f"== {name}: exit code {code}\n{text}")
    tables = [line for line in text.splitlines() if line.startswith('{"day"')]
    if not tables:
        say(f"bench {name}: exit code {code}: {last_line(text)}")
        return False, False
    write("bench.jsonl", tables[-1])
    results: List[Dict[str, Any]] = json.loads(tables[-1])["results"]
    for result in results:
        print(row(result))
    good = bool(results) and all(result["images_per_second"] for result in results)
    return good, "Interrupted" not in text


def profiled(inside: Inside, words: List[str], left: float) -> bool:
    command = ["python3", "-W", "ignore", "-m", "benchmarks.gpu_profile", *words]
    code, text = run(inside.argv(command, (), {}, PROJECT), min(left, 60))
    write("profile.txt", f"== {' '.join(words)}: exit code {code}\n{text}")
    print("\n".join(text.splitlines()[:16]), flush=True)
    say(f"profile: exit code {code}")
    return code == 0


def row(result: Dict[str, Any]) -> str:
    rates = sorted(result["images_per_second"])
    middle = f"{rates[len(rates) // 2]:9.1f} images/s" if rates else result["problem"]
    kind = "deterministic" if result["deterministic"] else "free"
    return (
        f"  {result['arch']:12} {result['precision']:8} {result['data']:9} {kind:13} "
        f"{result['who']:14} {middle}"
    )
