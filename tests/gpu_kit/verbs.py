"""Stage `verbs`: the project's own submit, rerun, resume and compare, as a user says them.

The host's part is the kit's: bundle.py under the image's Python by the image's loader, mpirun and
squashfuse likewise, the private Apptainer, and a SIF file made here of the slimmed tree by the
project's own functions, which the job script hashes as any other.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from tests.gpu_kit.inside import (
    BOOT,
    DATA,
    KIT,
    ONLY_WAY,
    PROJECT,
    RESULTS,
    ROOT,
    TREE,
    Inside,
    meta,
    run,
    say,
    write,
)

BASE = {
    "nclasses": 8, "epoch": 1, "batchsize": 32, "lr": 0.01, "trail_interval": 4,
    "checkpoint_interval": 8, "checkpoints_kept": 3, "loaderjob": 2,
}  # fmt: skip
TWO_RANKS = {"arch": "nin", "lr": 0.001, "batchsize": 16, "ranks_per_node": 2}
#: How a run says no that has a GPU for one of its two ranks.
REFUSED = "work on the same GPU"


class Case(NamedTuple):
    keys: Dict[str, Any]
    killed_too: bool = False
    refusal: str = ""


CASES = {
    "resnet50": Case({"arch": "resnet50"}, killed_too=True),
    "resnet50-mixed": Case({"arch": "resnet50", "precision": "mixed"}, killed_too=True),
    "googlenetbn": Case({"arch": "googlenetbn"}),
    "nin": Case({"arch": "nin", "lr": 0.001}, killed_too=True),
    "alex": Case({"arch": "alex", "lr": 0.001}),
    "nin-naive": Case({**TWO_RANKS, "communicator": "naive", "share_gpus": True}, killed_too=True),
    "nin-flat": Case({**TWO_RANKS, "communicator": "flat", "share_gpus": True}),
    "unshared": Case({**TWO_RANKS, "communicator": "naive"}, refusal=REFUSED),
}
#: Of stack cpu; its refusal is that of a key which needs GPUs.
REHEARSAL = {
    "pretend": Case(
        {"arch": "nin", "insize": 67, "stack": "cpu", "ranks_per_node": 2, "loaderjob": 1},
        killed_too=True,
    ),
    "unshared": Case(
        {"arch": "nin", "insize": 67, "stack": "cpu", "share_gpus": True},
        refusal="share_gpus: the stack cpu has no GPUs",
    ),
}
LOADER = 'exec {root}/lib64/ld-linux-x86-64.so.2 --library-path {libraries} {program} "$@"\n'


class Host:
    """What a login node would have."""

    def __init__(self, pretend: bool) -> None:
        self.pretend = pretend
        self.folder, self.tools = KIT / "host", TREE / "host/tools"
        self.cache, self.out = KIT / "cache", KIT / "verbs"
        self.env = {
            "PATH": f"{self.folder}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "BUNDLE_CACHE": str(self.cache),
            "HOME": os.environ.get("HOME", "/root"),
        }

    def _program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}")
        path.chmod(0o755)

    def _wrap(self, name: str, program: Path, root: Path, before: str = "") -> None:
        """A program of another system, by that system's loader."""
        libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
        line = LOADER.format(root=root, libraries=libraries, program=program)
        self._program(name, before + line)

    def make_programs(self, by_shim: bool) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "bin").mkdir(parents=True)
        packages = ROOT / "usr/local/lib/python3.11/dist-packages"
        path = [TREE / "host/site", packages, ROOT / "usr/lib/python3/dist-packages"]
        python = (
            f"export PYTHONHOME={ROOT}/usr PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1 "
            f"PYTHONPATH={PROJECT}:{':'.join(map(str, path))}\n"
        )
        self._wrap("bundle-python", ROOT / "usr/bin/python3.11", ROOT, python)
        # By this name it says that it is Open MPI.
        (self.folder / "mpirun").symlink_to(ROOT / "usr/bin/orterun")
        where = f"export OPAL_PREFIX={ROOT}/usr PMIX_INSTALL_PREFIX={ROOT}/usr\n"
        self._wrap("mpirun", self.folder / "mpirun", ROOT, where)
        for name in ("mksquashfs", "unsquashfs", "squashfuse_ll"):
            self._wrap(name, self.tools / "usr/bin" / name, self.tools)
        program = f"{meta()['apptainer']}/usr/bin/apptainer"
        if by_shim:
            settings = f"KIT={KIT} PYTHONPATH={PROJECT}"
            program = f"env {settings} {sys.executable} -m tests.gpu_kit.shim"
        self._program("apptainer", f'exec {program} "$@"\n')

    def python(self, words: Sequence[object], seconds: float) -> Tuple[int, str]:
        return run([self.folder / "bin/bundle-python", *words], seconds, self.env, PROJECT)

    def make_image(self) -> bool:
        words = ["-m", "tests.gpu_kit.slim_sif", ROOT, self.tools, BOOT / "sif_objects.json"]
        stacks = ["cpu"] if self.pretend else []
        code, text = self.python([*words, self.cache / "images", *stacks], 120)
        if code:
            say(f"SIF file: exit code {code}: {text}")
            return False
        expected, found = (BOOT / "sif.sha256").read_text().strip(), text.split()[-1]
        same = "as made at home" if found == expected else f"not the one made at home, {expected}"
        say(f"SIF file: sha256 {found}, {same}")
        return True

    def bundle(self, words: Sequence[object], seconds: float) -> Tuple[int, str]:
        """(exit code, what it printed)."""
        begun = time.monotonic()
        code, text = self.python(["-m", "tests.gpu_kit.bundle_here", *words], seconds)
        took = time.monotonic() - begun
        write("verbs.txt", f"== {words[0]} {words[-1]}: exit code {code}, {took:.1f} s\n{text}")
        return code, text


def kill_session(number: str) -> None:
    """All processes of one session, at once: what a lost node does."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            if stat.read_text().rpartition(")")[2].split()[3] == number:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def end_jobs(out: Path) -> List[str]:
    """Those that outlast the stage, by their runs: the benchmark wants the GPU alone."""
    going_on = [path for path in sorted(out.glob("*/job.json")) if not ended(path.parent)]
    for path in going_on:
        kill_session(json.loads(path.read_text())["id"].partition(".")[0])
    return [path.parent.name for path in going_on]


def ended(run_folder: Path) -> bool:
    return (run_folder / "exit_code").exists()


def killed_and_resumed(host: Host, config: Path, first: Path, deadline: float) -> Dict[str, Any]:
    code, text = host.bundle(["submit", "--json", config], deadline - time.monotonic())
    if code:
        return {"resume": f"submit: exit code {code}: {text.strip()[-300:]}"}
    submitted = json.loads(text[text.index("{") : text.rindex("}") + 1])
    run_folder = Path(submitted["run"])
    while time.monotonic() < deadline and not ended(run_folder):
        if list(run_folder.glob("results/checkpoints/*.npz")):
            break
        time.sleep(0.05)
    alive = not ended(run_folder)
    kill_session(submitted["job"].partition(".")[0])
    time.sleep(0.5)
    code, text = host.bundle(["resume", "--wait", run_folder], deadline - time.monotonic())
    went_on = [line for line in text.splitlines() if "goes on after step" in line]
    answer = {"killed": alive, "resume": code, "went_on": went_on[0] if went_on else text[-300:]}
    code, text = host.bundle(["compare", first, run_folder], 60)
    return {**answer, "resumed_verdict": verdict(text)}


def verdict(text: str) -> str:
    found = [line for line in text.splitlines() if line.startswith("verdict:")]
    return found[0].partition(": ")[2] if found else f"none: {text.strip()[-300:]}"


def one_case(host: Host, name: str, case: Case, deadline: float) -> Dict[str, Any]:
    config = host.out / f"{name}.json"
    data = {"train": DATA / "train.txt", "val": DATA / "val.txt", "mean": DATA / "mean.npy"}
    settings = {**BASE, **case.keys, "jobname": name, "out": host.out, **data}
    config.write_text(json.dumps(settings, default=str, indent=1))
    code, text = host.bundle(["submit", "--wait", config], deadline - time.monotonic())
    answer: Dict[str, Any] = {"case": name, "submit": code}
    runs = sorted(host.out.glob(f"{name}-2*"))
    if case.refusal:
        failures = [path.read_text() for folder in runs for path in folder.glob("failure.json")]
        said = "\n".join([text, *failures]).strip()
        return {**answer, "refused": code != 0 and case.refusal in said, "said": said[-400:]}
    if code or not runs:
        return {**answer, "said": text.strip()[-600:]}
    first = runs[0]
    with ThreadPoolExecutor(1) as pool:
        given = (host, config, first, deadline)
        resumed = pool.submit(killed_and_resumed, *given) if case.killed_too else None
        code, text = host.bundle(["rerun", first], deadline - time.monotonic())
        answer.update(run=first.name, rerun=code, rerun_verdict=verdict(text))
        if resumed is not None:
            answer.update(resumed.result())
    return answer


def good(answer: Dict[str, Any]) -> bool:
    if "refused" in answer:
        return bool(answer["refused"])
    verdicts = [answer.get("rerun_verdict"), answer.get("resumed_verdict", "identical")]
    went_on = answer.get("killed", True) and answer.get("resume", 0) == 0
    return answer["submit"] == 0 and went_on and verdicts == ["identical"] * 2


def image_starts(host: Host, by_shim: bool, deadline: float) -> bool:
    host.make_programs(by_shim)
    stack = "cpu" if host.pretend else "cuda12"
    code, text = host.bundle(["doctor", "--stack", stack], min(60, deadline - time.monotonic()))
    lines = text.splitlines()
    starts = any(line.startswith("ok") and " image start " in line for line in lines)
    if starts and "exec --unsquash" in text:
        say("the image is unpacked at each start here, which takes too long")
        starts = False
    shown = [line for line in lines if line.startswith(("fail", "warn"))] if starts else lines
    print("\n".join(shown), flush=True)
    ending = "starts" if starts else "does not start"
    say(f"doctor: exit code {code}; the image {ending} by {'the shim' if by_shim else 'apptainer'}")
    return starts


def stage(inside: Inside, left: float) -> bool:
    deadline = time.monotonic() + left
    host = Host(inside.pretend)
    shutil.rmtree(host.out, ignore_errors=True)
    host.out.mkdir(parents=True)
    host.make_programs(False)
    if not host.make_image():
        return False
    if ONLY_WAY == "chroot" or not image_starts(host, False, deadline):
        image_starts(host, True, deadline)
    cases = REHEARSAL if inside.pretend else CASES
    answers = []
    with ThreadPoolExecutor(len(cases)) as pool:
        pending = [pool.submit(safely, host, *item, deadline) for item in cases.items()]
        for answer in (one.result() for one in pending):
            answers.append(answer)
            say(f"{'ok' if good(answer) else 'NOT OK'}: {json.dumps(answer)}")
    late = end_jobs(host.out)
    if late:
        say(f"ended with the stage: {', '.join(late)}")
    (RESULTS / "verbs.json").write_text(json.dumps(answers, indent=1))
    runs = [path for path in sorted(host.out.iterdir()) if path.is_dir()]
    if runs:
        host.bundle(["show", runs[0]], 30)
        host.bundle(["verify", runs[0]], 60)
    pack_runs(runs)
    return all(map(good, answers))


def safely(host: Host, name: str, case: Case, deadline: float) -> Dict[str, Any]:
    """One case must not take the others along."""
    try:
        return one_case(host, name, case, deadline)
    except Exception as error:
        return {"case": name, "submit": -1, "said": f"{type(error).__name__}: {error}"}


def pack_runs(runs: List[Path]) -> None:
    """What is small of each run: manifests, logs, results and trails."""
    with tarfile.open(RESULTS / "verbs.tar.xz", "w:xz", preset=1) as tar:
        for folder in runs:
            for path in sorted(folder.rglob("*")):
                inner = path.relative_to(folder)
                large = {"code", "inputs", "checkpoints"} & {*inner.parts}
                if path.is_file() and not large and path.stat().st_size < 4 << 20:
                    tar.add(path, f"{folder.name}/{inner}")
