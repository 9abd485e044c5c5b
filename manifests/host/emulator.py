"""QEMU's user mode emulation of x86-64 on this host: is it there, and which processors has it?"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, FrozenSet, List, Mapping, Tuple

from container.nearest import nearest
from container.process import CommandFailed, run
from container.trouble import Trouble
from manifests.host.finding import Finding, ok
from manifests.record.schema import Emulated

#: Only a static one starts inside of an image: it brings its own libraries.
PROGRAM = "qemu-x86_64-static"
INSTALL = f"install {PROGRAM} (Debian and Ubuntu: apt-get install qemu-user-static)"

SECONDS = 60.0

#: QEMU 7 ends with 1 when it has printed its help.
LIST_MODELS = ("bash", "-c", '"$1" -cpu help || exit 0', "bash")

#: Models that are named in advice, from both makers.
WELL_KNOWN = ("Haswell", "Broadwell", "Skylake-Client", "EPYC", "EPYC-Rome", "EPYC-Milan")

_VERSION = re.compile(r"version ([0-9][0-9.]*)")
_MODEL = re.compile(r"x86 ([A-Za-z0-9_.+-]+)\s")

#: (leaf, register) of the CPUID instruction -> bit -> name of the feature in /proc/cpuinfo (Intel's
#: manual, volume 2, CPUID; AMD's, volume 3, appendix E): those that libraries choose code by.
FEATURES: Dict[Tuple[int, str], Dict[int, str]] = {
    (1, "edx"): {0: "fpu", 4: "tsc", 8: "cx8", 15: "cmov", 23: "mmx", 24: "fxsr", 25: "sse",
                 26: "sse2"},
    (1, "ecx"): {0: "pni", 1: "pclmulqdq", 9: "ssse3", 12: "fma", 13: "cx16", 19: "sse4_1",
                 20: "sse4_2", 22: "movbe", 23: "popcnt", 25: "aes", 26: "xsave", 28: "avx",
                 29: "f16c", 30: "rdrand"},
    (7, "ebx"): {3: "bmi1", 5: "avx2", 8: "bmi2", 16: "avx512f", 17: "avx512dq", 18: "rdseed",
                 19: "adx", 28: "avx512cd", 30: "avx512bw", 31: "avx512vl"},
    (0x80000001, "ecx"): {0: "lahf_lm", 5: "abm", 6: "sse4a"},
    (0x80000001, "edx"): {11: "syscall", 20: "nx", 29: "lm"},
}  # fmt: skip

#: Run on the emulated processor: prints the four registers of each leaf. The bytes are
#: push rbx; mov eax, edi; mov ecx, esi; mov r8, rdx; cpuid; mov [r8], eax; mov [r8+4], ebx;
#: mov [r8+8], ecx; mov [r8+12], edx; pop rbx; ret.
ASK = """
import ctypes, json, mmap
code = bytes.fromhex("5389f889f14989d00fa24189004189580441894808418950 0c5bc3".replace(" ", ""))
place = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
place.write(code)
start = ctypes.addressof(ctypes.c_char.from_buffer(place))
ask = ctypes.CFUNCTYPE(None, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p)(start)
found = {}
for leaf in (1, 7, 0x80000001):
    registers = (ctypes.c_uint * 4)()
    ask(leaf, 0, ctypes.addressof(registers))
    found[leaf] = list(registers)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Emulator:
    program: Path
    version: str
    models: Tuple[str, ...]

    def of(self, model: str) -> Emulated:
        return Emulated(model=model, program=str(self.program), version=self.version)


def find_emulator(environ: Mapping[str, str]) -> Emulator:
    """Raises Trouble where there is none on PATH that works."""
    found = shutil.which(PROGRAM, path=environ.get("PATH"))
    if found is None:
        raise Trouble(f"{PROGRAM} is not on PATH", INSTALL)
    try:
        version = _VERSION.search(run([found, "--version"], timeout=SECONDS).stdout)
        listed = run([*LIST_MODELS, found], timeout=SECONDS).stdout
    except CommandFailed as error:
        raise Trouble(str(error), INSTALL) from error
    models = tuple(_MODEL.findall(listed))
    if version is None or not models:
        raise Trouble(f"{found}: does not say its version and its processors", INSTALL)
    return Emulator(Path(found).resolve(), version[1], models)


def refuse_model(emulator: Emulator, model: str) -> None:
    """Raise Trouble for a name that is none of the emulator's models."""
    if model in emulator.models:
        return
    known = [name for name in WELL_KNOWN if name in emulator.models]
    raise Trouble(
        f"--emulate {model}: QEMU {emulator.version} has no such processor"
        f"{nearest(model, emulator.models)}",
        f"for instance {', '.join(known)}; all: {emulator.program} -cpu help",
    )


def features_of(emulator: Emulator, model: str) -> FrozenSet[str]:
    """What the emulated processor itself says that it has, as the kernel would name it.

    Raises Trouble where it cannot be started.
    """
    argv = [str(emulator.program), "-cpu", f"{model},check=off", sys.executable, "-I", "-c", ASK]
    try:
        return parse_features(run(argv, timeout=SECONDS).stdout)
    except CommandFailed as error:
        raise Trouble(
            f"--emulate {model}: {error}", "choose another processor, or another version of QEMU"
        ) from error


def parse_features(text: str) -> FrozenSet[str]:
    """What ASK printed -> names of features."""
    registers: Dict[str, List[int]] = json.loads(text)
    order = ("eax", "ebx", "ecx", "edx")
    return frozenset(
        name
        for (leaf, register), bits in FEATURES.items()
        for bit, name in bits.items()
        if registers[str(leaf)][order.index(register)] >> bit & 1
    )


def cpuinfo_text(emulated: Emulated, features: FrozenSet[str]) -> str:
    """``/proc/cpuinfo`` of the emulated processor: the kernel's own is of the host's, and QEMU 7
    shows that."""
    return (
        "processor\t: 0\n"
        f"model name\t: {emulated.model} (emulated by QEMU {emulated.version})\n"
        f"flags\t\t: {' '.join(sorted(features))}\n\n"
    )


def emulator_finding(environ: Mapping[str, str]) -> Finding:
    """Never more than a remark: one option of one verb needs it."""
    try:
        emulator = find_emulator(environ)
    except Trouble as trouble:
        problem = f"{trouble.problems[0]}; only `rerun --emulate` needs it"
        return ok(f"{problem}: {trouble.next_step}")
    return ok(f"QEMU {emulator.version} ({emulator.program}), for `rerun --emulate`")
