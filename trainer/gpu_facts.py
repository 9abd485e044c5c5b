"""What the driver and CUDA say of this rank's GPU."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

from manifests.outcome import RankGpu
from manifests.schema import GpuClass

#: The first line of this file, of the closed and of the open kernel module.
VERSION_FILE = Path("/proc/driver/nvidia/version")
VERSION = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)")


def parse_version(text: str) -> str:
    """The text of VERSION_FILE -> the driver's version; "" for any other text."""
    match = VERSION.search(text)
    return match.group(1) if match else ""


def driver_version() -> str:
    """The version of the loaded kernel module, "" where neither it nor NVML tells."""
    try:
        found = parse_version(VERSION_FILE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        found = ""
    return found or nvml_version()


def nvml_version() -> str:
    """By NVML, the library behind nvidia-smi, which comes with the driver."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ""
    text = ctypes.create_string_buffer(80)  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE
    if nvml.nvmlInit_v2() != 0:
        return ""
    failed = nvml.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text)))
    nvml.nvmlShutdown()
    found = re.fullmatch(r"\d+(\.\d+)+", text.value.decode("ascii", "replace"))
    return "" if failed or not found else found.group(0)


def visible_gpus(cupy: Any) -> int:
    """0 also where there is no driver, or one that CUDA refuses."""
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0


def gpu_of_rank(cupy: Any, device: int, rank: int, host: str) -> RankGpu:
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(device)
    return RankGpu(
        rank=rank,
        host=host,
        device=device,
        bus=runtime.deviceGetPCIBusId(device).lower(),
        kind=GpuClass(
            model=properties["name"].decode("utf-8", "replace"),
            capability=f"{properties['major']}.{properties['minor']}",
            multiprocessors=properties["multiProcessorCount"],
        ),
        memory=properties["totalGlobalMem"],
        uuid=bytes(properties.get("uuid", b"")).hex(),
    )
