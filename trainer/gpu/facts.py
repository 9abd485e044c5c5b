"""What the driver and CUDA say of this rank's GPU."""

from __future__ import annotations

import ctypes
from typing import Any

from manifests.record.driver_version import VERSION_FILE, parse_version, parse_version_file
from manifests.record.outcome import RankGpu
from manifests.record.schema import GpuClass


def driver_version() -> str:
    """The version of the loaded kernel module, "" where neither it nor NVML tells."""
    try:
        found = parse_version_file(VERSION_FILE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        found = None
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
    found = parse_version(text.value.decode("ascii", "replace"))
    return "" if failed or not found else found


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
