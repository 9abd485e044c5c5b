"""The kit on the machine with the GPU: folders, output, and how commands enter the image."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

KIT = Path(os.environ.get("KIT", "/tmp/kit"))
TREE, BOOT = KIT / "tree", KIT / "boot"
ROOT, PROJECT, DATA = TREE / "root", TREE / "project", TREE / "data"
#: Everything is written into RESULTS; OUT gets it as one file after each stage, for few files come
#: home.
RESULTS, OUT = KIT / "results", Path(os.environ.get("OUT", KIT / "out"))
DRIVER = KIT / "driver"
#: Where CuPy keeps the kernels that it compiled: the image is read-only, and so is the home in it.
KERNELS = KIT / "kernels"
BEGUN = time.monotonic()
#: "chroot" tries plan B at once.
ONLY_WAY = os.environ.get("KIT_WAY", "")
DRIVER_LIBRARIES = (
    "libcuda.so", "libnvidia-ml.so", "libnvidia-ptxjitcompiler.so", "libnvidia-nvvm.so",
)  # fmt: skip
SETTINGS = ("APPTAINER", "SINGULARITY")

#: (source, place in the image, options such as "ro").
Bind = Tuple[Path, str, str]


def meta() -> Dict[str, str]:
    """What the maker of the kit wrote down of its own machine."""
    found: Dict[str, str] = json.loads((BOOT / "meta.json").read_text())
    return found


def say(text: str) -> None:
    print(f"kit {time.monotonic() - BEGUN:6.1f} s: {text}", flush=True)


def write(name: str, text: str) -> None:
    """Several texts go into few files: only eight files come home."""
    with open(RESULTS / name, "a") as stream:
        stream.write(text if text.endswith("\n") else text + "\n")


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if len(line) > 8]
    return lines[-1] if lines else "nothing"


def run(
    argv: Sequence[object],
    seconds: float,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[Path] = None,
) -> Tuple[int, str]:
    """(exit code, what it printed); the whole process group ends with its time."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
    words = [str(word) for word in argv]
    try:
        process = subprocess.Popen(
            words, env={**kept, **(env or {})}, cwd=cwd, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
        )  # fmt: skip
    except OSError as error:
        return 127, str(error)
    try:
        text, _ = process.communicate(timeout=max(1, seconds))
        return process.returncode, text
    except subprocess.TimeoutExpired:
        _kill(process)
        text, _ = process.communicate()
        return 124, f"{text}\nkit: ended after {seconds:.0f} s"
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


class Inside:
    """How commands get into the image: by Apptainer, or by chroot where that does not work."""

    def __init__(self, pretend: bool, way: str = "", options: Sequence[str] = ()) -> None:
        self.pretend, self.way, self.options = pretend, way, list(options)

    def argv(
        self,
        command: Sequence[object],
        binds: Sequence[Bind] = (),
        env: Optional[Mapping[str, object]] = None,
        cwd: object = "/",
    ) -> List[str]:
        """The kit's folder is there in any case, under its own name."""
        settings = {name: str(value) for name, value in (env or {}).items()}
        settings["CUPY_CACHE_DIR"] = str(KERNELS)
        binds = [(KIT, str(KIT), ""), *binds]
        if self.pretend:
            settings["KIT_PRETEND"] = "1"
        if self.way == "chroot":
            words = _chroot(binds, settings, cwd)
        else:
            words = self._apptainer(binds, settings, cwd)
        return [*words, *map(str, command)]

    def _apptainer(self, binds: Sequence[Bind], env: Mapping[str, str], cwd: object) -> List[str]:
        words = [f"{meta()['apptainer']}/usr/bin/apptainer", "--quiet", "exec", *self.options]
        words += ["--no-home", "--pwd", str(cwd)]
        for source, target, access in binds:
            fields = ["type=bind", f"source={source}", f"destination={target}"]
            words += ["--mount", ",".join([*fields, *([access] if access else [])])]
        for name, value in env.items():
            words += ["--env", f"{name}={value}"]
        return [*words, str(ROOT)]

    def _ways(self) -> Iterator[Tuple[str, List[str]]]:
        nv = [] if self.pretend else ["--nv"]
        by_hand = [] if self.pretend else ["--bind", f"{DRIVER}:/.singularity.d/libs"]
        for options in (nv, [*nv, "--userns"], by_hand, [*by_hand, "--userns"]):
            yield "apptainer", options
        yield "chroot", []

    def find(self, probe: str) -> bool:
        """Take the first way by which a Python text ends well in the image."""
        for way, options in self._ways():
            if ONLY_WAY not in ("", way):
                continue
            self.way, self.options = way, options
            name = f"{self.way} {' '.join(self.options)}"
            code, text = run(self.argv(["python3", "-c", probe]), 120)
            write("facts.txt", f"== {name}: exit code {code}\n{text}")
            if code == 0:
                say(f"inside by {name}")
                print(text, flush=True)
                return True
            say(f"not by {name}: {last_line(text)}")
        return False


def _chroot(binds: Sequence[Bind], env: Mapping[str, str], cwd: object) -> List[str]:
    lines = ["set -e", "mount --make-rprivate /"]
    for place in ("/dev", "/proc", "/sys", "/tmp"):
        lines.append(f"mkdir -p {ROOT}{place}; mount --rbind {place} {ROOT}{place}")
    for source, target, access in binds:
        at = shlex.quote(f"{ROOT}{target}")
        lines.append(f"[ -d {at} ] || mkdir -p {at}; mount --bind {shlex.quote(str(source))} {at}")
        if access == "ro":
            lines.append(f"mount -o remount,bind,ro {at}")
    if DRIVER.is_dir():
        lines.append(f"mount --bind {DRIVER} {ROOT}/.singularity.d/libs")
    settings = "".join(f"export {k}={shlex.quote(v)}; " for k, v in env.items())
    inner = (
        ". /opt/bundle/environment.sh; export LD_LIBRARY_PATH=/.singularity.d/libs HOME=/root; "
        f'{settings}cd {shlex.quote(str(cwd))}; exec "$@"'
    )
    lines.append(f'exec chroot {ROOT} /bin/sh -c {shlex.quote(inner)} sh "$@"')
    return ["unshare", "--mount", "bash", "-c", "\n".join(lines), "kit"]


def driver_libraries() -> List[str]:
    """The driver's libraries, copied into one folder for where --nv does not find them."""
    usual = Path("/usr/local/nvidia/lib64")
    listed = run(["ldconfig", "-p"], 20)[1]
    if "libcuda.so.1" not in listed and usual.is_dir():  # --nv asks ldconfig alone
        Path("/etc/ld.so.conf.d/zz-kit.conf").write_text(f"{usual}\n")
        run(["ldconfig"], 60)
        listed = run(["ldconfig", "-p"], 20)[1]
    lines = [line for line in listed.splitlines() if "=>" in line]
    places = {Path(line.rpartition("=> ")[2].strip()) for line in lines}
    for folder in (usual, Path("/usr/local/nvidia/lib"), Path("/usr/lib/x86_64-linux-gnu")):
        places |= set(folder.iterdir()) if folder.is_dir() else set()
    DRIVER.mkdir(exist_ok=True)
    found = []
    for path in sorted(places):
        if path.name.startswith(DRIVER_LIBRARIES) and path.exists() and "stubs" not in path.parts:
            if not (DRIVER / path.name).exists():
                shutil.copy(path, DRIVER / path.name)
            found.append(str(path))
    return found
