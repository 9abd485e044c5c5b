"""NVIDIA's fat binaries: slimmed for one architecture, restored, and checked against the originals.

fatbin.py slim ROOT ARCH OUT     rewrites the libraries below ROOT; OUT.json, OUT.raw
fatbin.py restore ROOT OUT LIBLZ4
fatbin.py verify ORIGINAL ROOT ARCH

A container (magic 0xBA55ED50) holds entries: a header of 64 bytes, then machine code (kind 2) or
PTX (kind 1) of one architecture, mostly in LZ4. `slim` zeroes the payload of every entry that ARCH
does not load, in place: no offset moves. Machine code of ARCH leaves the file decompressed, because
LZ4's output hardly compresses, and `restore` puts it back by LZ4 in the same place: other
compressed bytes, the same code. Containers all of whose kernels compute what no network here asks
for are given another architecture's number. `verify` compares every kept payload, decompressed, and
every byte outside of containers with the original. The form was found by reading such files.

Standard library only: it runs before anything of the kit is unpacked.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import re
import struct
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

MAGIC = b"\x50\xed\x55\xba"
ENTRY = struct.Struct("<HHIQIIHHIIIQQQ")
PTX, ELF, LZ4 = 1, 2, 0x2000
#: Architectures that no GPU here has: what carries these numbers is never loaded.
ELSEWHERE = {ELF: 50, PTX: 200}
#: Kernels of cuBLASLt for fp8, int8, float64 and complex numbers, which no network here asks for.
UNUSED = re.compile(
    rb"e4m3|e5m2|cf32|cf64|f64|double|int32|imma|s8s8|i8i8|i8816|i16832|6float2|7double2|"
    rb"[zcd](gemm|gemv|trsm|syrk|herk|trmm|symm|hemm)"
)
DROP_IN = "libcublasLt.so"


class Entry(NamedTuple):
    """``at`` is the offset of its header, ``payload`` that of what follows, of ``size`` bytes."""

    at: int
    payload: int
    kind: int
    size: int
    packed: int  # bytes of the LZ4 block
    arch: int
    flags: int
    unpacked: int  # bytes of the code

    @property
    def end(self) -> int:
        return self.payload + self.size


def liblz4(name: str = "liblz4.so.1") -> Any:
    return ctypes.CDLL(name)


def unpacked(lib: Any, data: bytes, size: int) -> bytes:
    out = ctypes.create_string_buffer(size)
    got = lib.LZ4_decompress_safe(data, out, len(data), size)
    if got != size:
        raise SystemExit(f"fatbin: LZ4 gave {got} bytes for {size}")
    return out.raw


def entry_at(data: Any, at: int) -> Entry:
    f = ENTRY.unpack_from(data, at)
    if f[0] not in (PTX, ELF) or f[2] < ENTRY.size:
        raise SystemExit(f"fatbin: an entry of an unknown kind {f[0]} at {at:#x}")
    return Entry(at, at + f[2], f[0], f[3], f[4], f[8], f[11], f[13])


def containers(data: Any) -> Iterator[Tuple[int, int, List[Entry]]]:
    """(begin, end, entries) of each."""
    place = data.find(MAGIC)
    while place >= 0:
        version, header, size = struct.unpack_from("<HHQ", data, place + 4)
        end = place + header + size
        if version != 1 or header != 16 or end > len(data):
            place = data.find(MAGIC, place + 4)
            continue
        entries, at = [], place + header
        while at + ENTRY.size <= end:
            entries.append(entry_at(data, at))
            at = entries[-1].end
        yield place, end, entries
        place = data.find(MAGIC, end)


def code_of(lib: Any, data: Any, entry: Entry) -> bytes:
    if entry.flags & LZ4:
        packed = bytes(data[entry.payload : entry.payload + entry.packed])
        return unpacked(lib, packed, entry.unpacked)
    return bytes(data[entry.payload : entry.end])


def native(entries: List[Entry], arch: int) -> List[Entry]:
    return [entry for entry in entries if entry.kind == ELF and entry.arch == arch]


def usable_ptx(entries: List[Entry], arch: int) -> List[Entry]:
    return [entry for entry in entries if entry.kind == PTX and entry.arch <= arch]


def is_unused(name: str, codes: List[bytes]) -> bool:
    if DROP_IN not in name:
        return False
    kernels = {k for code in codes for k in re.findall(rb"\.text\.([A-Za-z0-9_$]+)", code)}
    return bool(kernels) and all(UNUSED.search(kernel) for kernel in kernels)


def libraries(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.so*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > 1 << 20:
            with open(path, "rb") as stream:
                data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            found = data.find(MAGIC) >= 0
            data.close()
            if found:
                yield path


class Slimmer:
    """``records``: [library, header, payload, room, bytes of code] of each piece that left."""

    def __init__(self, arch: int, raw: Any) -> None:
        self.lib, self.arch, self.raw = liblz4(), arch, raw
        self.records: List[List[Any]] = []
        self.taken = self.dropped = 0

    def slim(self, name: str, data: bytearray) -> None:
        for _, _, entries in list(containers(data)):
            own = native(entries, self.arch)
            codes = [code_of(self.lib, data, entry) for entry in own]
            drop = bool(own) and is_unused(name, codes)
            self.dropped += sum(map(len, codes)) if drop else 0
            stay = [] if drop else own or usable_ptx(entries, self.arch)
            for entry in entries:
                if entry not in stay:
                    data[entry.payload : entry.end] = bytes(entry.size)
                    if drop:
                        struct.pack_into("<I", data, entry.at + 28, ELSEWHERE[entry.kind])
                elif entry in own and entry.flags & LZ4:
                    self.take(name, data, entry, codes[own.index(entry)])

    def take(self, name: str, data: bytearray, entry: Entry, code: bytes) -> None:
        self.records.append([name, entry.at, entry.payload, entry.size, len(code)])
        self.raw.write(code)
        data[entry.payload : entry.end] = bytes(entry.size)
        self.taken += len(code)


def slim(root: Path, arch: int, out: str) -> None:
    with open(out + ".raw", "wb") as raw:
        slimmer = Slimmer(arch, raw)
        for path in libraries(root):
            name = str(path.relative_to(root))
            data = bytearray(path.read_bytes())
            if not any(native(entries, arch) for _, _, entries in containers(data)):
                continue
            slimmer.taken = slimmer.dropped = 0
            slimmer.slim(name, data)
            path.write_bytes(data)
            taken, dropped = slimmer.taken >> 20, slimmer.dropped >> 20
            print(f"fatbin: {name}: {taken} MiB of code, {dropped} MiB dropped", flush=True)
    Path(out + ".json").write_text(json.dumps(slimmer.records))


_work: Dict[str, Any] = {}


def _start(lz4: str, raw: str) -> None:
    _work["lib"] = liblz4(lz4)
    stream = open(raw, "rb")  # noqa: SIM115 - open as long as the process
    _work["raw"] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _pack(job: Tuple[int, int, int]) -> bytes:
    begin, size, room = job
    lib, code = _work["lib"], _work["raw"][begin : begin + size]
    for level in (4, 9, 12):
        out = ctypes.create_string_buffer(lib.LZ4_compressBound(size))
        packed = lib.LZ4_compress_HC(code, out, size, len(out), level)
        if 0 < packed <= room:
            data = out.raw[:packed]
            if unpacked(lib, data, size) != code:
                raise SystemExit("fatbin: LZ4 does not give back what it was given")
            return data
    raise SystemExit(f"fatbin: {size} bytes do not fit into {room}")


def restore(root: Path, out: str, lz4: str) -> None:
    records = json.loads(Path(out + ".json").read_text())
    jobs, begin = [], 0
    for _, _, _, room, size in records:
        jobs.append((begin, size, room))
        begin += size
    files: Dict[str, mmap.mmap] = {}
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, initializer=_start, initargs=(lz4, out + ".raw")) as pool:
        for record, data in zip(records, pool.map(_pack, jobs, chunksize=4)):
            name, at, payload, _, _ = record
            if name not in files:
                with open(root / name, "r+b") as stream:
                    files[name] = mmap.mmap(stream.fileno(), 0)
            files[name][payload : payload + len(data)] = data
            struct.pack_into("<I", files[name], at + 16, len(data))
    for mapped in files.values():
        mapped.flush()
    print(f"fatbin: {len(records)} pieces of code put back into {len(files)} libraries")


def verify(original: Path, root: Path, arch: int) -> int:
    """0 where nothing differs."""
    lib, wrong, kept, gone = liblz4(), 0, 0, 0
    for path in libraries(root):
        name = path.relative_to(root)
        old, new = (original / name).read_bytes(), path.read_bytes()
        if len(old) != len(new):
            raise SystemExit(f"fatbin: {name}: another size")
        at = 0
        for (begin, end, before), (_, _, after) in zip(containers(old), containers(new)):
            sides = (old[at:begin], new[at:begin])
            wrong += len({hashlib.sha1(side).digest() for side in sides}) - 1
            at = end
            if native(before, arch) and not native(after, arch):
                gone += 1
                continue
            chosen = native if native(before, arch) else usable_ptx
            for a, b in zip(chosen(before, arch), chosen(after, arch)):
                wrong += code_of(lib, old, a) != code_of(lib, new, b)
                kept += 1
        wrong += old[at:] != new[at:]
    print(f"fatbin: {kept} pieces are the original's, {gone} dropped, {wrong} differ")
    return 1 if wrong or not kept else 0


if __name__ == "__main__":
    verb, *given = sys.argv[1:]
    if verb == "slim":
        slim(Path(given[0]), int(given[1]), given[2])
    elif verb == "restore":
        restore(Path(given[0]), given[1], given[2])
    else:
        sys.exit(verify(Path(given[0]), Path(given[1]), int(given[2])))
