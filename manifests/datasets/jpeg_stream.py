"""The structure of JPEG files: segments, scans, and a walk along the Huffman codes of a scan.

ITU-T T.81: markers in Annex B, sequential entropy coding in Annex F. Pixels are not computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Tuple

SOF_SEQUENTIAL = (0xC0, 0xC1)
SOF_PROGRESSIVE = 0xC2
_DHT, _EOI, _SOS, _DQT, _DRI = 0xC4, 0xD9, 0xDA, 0xDB, 0xDD
#: Start of a frame of any process: all of 0xC0 to 0xCF but DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC}
#: What pixels are decoded from; the rest are notes.
_NEEDED = _FRAMES | {_DHT, _SOS, _DQT, _DRI, 0xCC}

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")


class StreamFault(Exception):
    """What is wrong with a file's stream, as a phrase without subject."""


@dataclass(frozen=True)
class Segment:
    """``entropy`` is what follows a scan's header, up to the next marker that is not a restart."""

    code: int
    body: bytes
    entropy: bytes = b""

    @property
    def is_frame(self) -> bool:
        return self.code in _FRAMES

    @property
    def is_scan(self) -> bool:
        return self.code == _SOS


def segments(data: bytes) -> Iterator[Segment]:
    """The segments of a JPEG file up to its end marker, which is the last one, without a body.

    Bytes between segments are passed over, as libjpeg does.
    """
    at = 2
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            return
        code, at = found[1][0], found.end()
        if code == _EOI:
            yield Segment(code, b"")
            return
        if 0xD0 <= code <= 0xD8 or code == 0x01:
            continue
        end = at + max(2, int.from_bytes(data[at : at + 2], "big"))
        body, at = data[at + 2 : end], end
        if code == _SOS:
            stop = _SCAN_END.search(data, end)
            at = stop.start() if stop else len(data)
        yield Segment(code, body, data[end:at])


def without_notes(data: bytes) -> bytes:
    """The same image without what pixels are not decoded from: notes, and bytes between segments.

    Its colours may be taken otherwise: Adobe's segment is a note.
    """
    parts = [b"\xff\xd8"]
    for segment in segments(data):
        if segment.code in _NEEDED:
            length = (len(segment.body) + 2).to_bytes(2, "big")
            parts += [bytes([0xFF, segment.code]), length, segment.body, segment.entropy]
        elif segment.code == _EOI:
            parts.append(b"\xff\xd9")
    return b"".join(parts)


# --- progressive ------------------------------------------------------------------------------


def missing_scans(data: bytes) -> bool:
    """Whether a progressive file lacks coefficients, or the last bits of some, of a component.

    Of a file that is cut between two scans, nothing else tells.
    """
    bits: Dict[int, List[int]] = {}  # of a component: coefficient -> its lowest bit that is there
    for segment in segments(data):
        if segment.is_frame:
            if segment.code != SOF_PROGRESSIVE:
                return False
            count = segment.body[5]
            bits = {segment.body[6 + 3 * place]: [99] * 64 for place in range(count)}
        elif segment.is_scan:
            count = segment.body[0]
            first, last, approximation = segment.body[1 + 2 * count : 4 + 2 * count]
            for place in range(count):
                known = bits.get(segment.body[1 + 2 * place], [])
                known[first : last + 1] = [approximation & 15] * (last + 1 - first)
    return any(bit for known in bits.values() for bit in known)


#: So many zero bytes in a row no scan has, unless zeros are the code of nothing to be said.
ZEROS = bytes(32)


def zero_filled(data: bytes, *, to_the_end: bool = False) -> bool:
    """Whether a part of a Huffman coded scan was overwritten with zeros, as lost blocks of a disk
    are. Zeros are codes like others, and some images come out in one piece all the same.

    Zeros up to the end of a scan may be too many without any harm; they count ``to_the_end`` only.

    The first code of each table is all zeros. Where it means no difference and no coefficients, an
    even area is coded by zeros; then nothing is said.
    """
    if ZEROS not in data:
        return False
    first: Dict[int, int] = {}  # class << 4 | number of a table -> the meaning of zeros
    for segment in segments(data):
        body = segment.body
        if segment.is_frame and segment.code not in (*SOF_SEQUENTIAL, SOF_PROGRESSIVE):
            return False
        while segment.code == _DHT and len(body) > 17:
            first[body[0]] = body[17]
            body = body[17 + sum(body[1:17]) :]
        scan = segment.entropy if to_the_end else segment.entropy.rstrip(b"\0")
        if segment.is_scan and ZEROS in scan:
            count = body[0]
            begin, last, bits = body[1 + 2 * count : 4 + 2 * count]
            if begin == 0 and bits >> 4:
                continue  # one bit per block, without codes
            for numbers in body[2 : 2 + 2 * count : 2]:
                dc_says = begin == 0 and first.get(numbers >> 4, 0)
                ac_says = last > 0 and first.get(0x10 | numbers & 15, 0) & 15
                if dc_says or ac_says:
                    return True
    return False


# --- sequential -------------------------------------------------------------------------------


@dataclass
class _Decoder:
    """What the segments before a scan say; tables by their number."""

    quantizers: Dict[int, List[int]] = field(default_factory=dict)
    tables: Dict[int, List[int]] = field(default_factory=dict)  # class << 4 | number
    restart: int = 0
    width: int = 0
    height: int = 0
    components: Dict[int, Tuple[int, int, int]] = field(default_factory=dict)  # h, v, quantizer


def scan_leftovers(data: bytes) -> Iterator[Tuple[bytes, bytes]]:
    """For each scan of a sequential file, and each of its restart intervals: the bytes that its
    blocks take, and those that are left over. Stuffed zeros are taken out of both.

    Raises StreamFault at the first code that no encoder writes: one of no symbol, a block of more
    than 64 coefficients, a coefficient beyond the range of 8-bit samples, data that end too early.
    """
    decoder = _Decoder()
    for segment in segments(data):
        body = segment.body
        if segment.is_frame:
            _read_frame(decoder, body)
        elif segment.code == _DQT:
            _read_quantizers(decoder, body)
        elif segment.code == _DHT:
            _read_tables(decoder, body)
        elif segment.code == _DRI:
            decoder.restart = int.from_bytes(body[:2], "big")
        elif segment.is_scan:
            yield from _walk_scan(decoder, segment)


def _read_frame(decoder: _Decoder, body: bytes) -> None:
    decoder.height = int.from_bytes(body[1:3], "big")
    decoder.width = int.from_bytes(body[3:5], "big")
    for at in range(6, 6 + 3 * body[5], 3):
        decoder.components[body[at]] = (body[at + 1] >> 4, body[at + 1] & 15, body[at + 2])


def _read_quantizers(decoder: _Decoder, body: bytes) -> None:
    while body:
        width = 2 if body[0] >> 4 else 1
        steps = body[1 : 1 + 64 * width]
        decoder.quantizers[body[0] & 15] = [
            int.from_bytes(steps[at : at + width], "big") for at in range(0, len(steps), width)
        ]
        body = body[1 + 64 * width :]


def _read_tables(decoder: _Decoder, body: bytes) -> None:
    """The symbol of each 16 bits ahead, as length << 8 | symbol; 0 where no code begins so."""
    while body:
        counts = body[1:17]
        symbols = iter(body[17 : 17 + sum(counts)])
        table: List[int] = []
        for length, count in enumerate(counts, start=1):
            for symbol in (next(symbols, 0) for _ in range(count)):
                if len(table) >= 1 << 16:
                    raise StreamFault("has a table of more codes than there are")
                table += [length << 8 | symbol] * (1 << 16 - length)
        decoder.tables[body[0]] = (table + [0] * (1 << 16))[: 1 << 16]
        body = body[17 + sum(counts) :]


#: Of one block: which component's DC, its DC and AC tables, and its smallest DC and AC steps.
_Block = Tuple[int, List[int], List[int], int, int]


def _ceil(number: int, unit: int) -> int:
    return -(-number // unit)


def _walk_scan(decoder: _Decoder, scan: Segment) -> Iterator[Tuple[bytes, bytes]]:
    count = scan.body[0]
    blocks: List[_Block] = []
    most_h = max(h for h, _, _ in decoder.components.values())
    most_v = max(v for _, v, _ in decoder.components.values())
    across = down = 0
    for place in range(count):
        name, numbers = scan.body[1 + 2 * place], scan.body[2 + 2 * place]
        if name not in decoder.components:
            raise StreamFault("has a scan of a component that it does not have")
        h, v, number = decoder.components[name]
        steps = decoder.quantizers.get(number, [1] * 64)
        dc, ac = decoder.tables.get(numbers >> 4), decoder.tables.get(0x10 | numbers & 15)
        if dc is None or ac is None or len(steps) != 64:
            raise StreamFault("has a scan without its tables")
        block = (place, dc, ac, steps[0], min(steps[1:]))
        if count > 1:
            blocks += [block] * (h * v)
            across, down = _ceil(decoder.width, 8 * most_h), _ceil(decoder.height, 8 * most_v)
        else:
            blocks = [block]
            across = _ceil(_ceil(decoder.width * h, most_h), 8)
            down = _ceil(_ceil(decoder.height * v, most_v), 8)
    ahead = across * down
    for interval in _RESTART.split(scan.entropy) if decoder.restart else [scan.entropy]:
        units = min(ahead, decoder.restart) if decoder.restart else ahead
        ahead -= units
        plain = interval.replace(b"\xff\x00", b"\xff")
        taken = _walk(plain, blocks, units)
        yield plain[:taken], plain[taken:]
    if ahead:
        raise StreamFault("lacks restart intervals")


#: DCT coefficients of 8-bit samples are within +-1024; some more for an encoder's rounding.
_RANGE = 1600


def _walk(data: bytes, blocks: List[_Block], units: int) -> int:
    """How many bytes the codes of ``units`` times ``blocks`` take. Raises StreamFault."""
    window = [
        a << 24 | b << 16 | c << 8 | d
        for a, b, c, d in zip(
            data + bytes(4), data[1:] + bytes(4), data[2:] + bytes(4), data[3:] + bytes(4)
        )
    ]
    end = 8 * len(data)
    at = 0
    levels = [0] * len(blocks)
    try:
        for _ in range(units):
            for place, dc, ac, dc_step, ac_step in blocks:
                entry = dc[window[at >> 3] >> 16 - (at & 7) & 0xFFFF]
                at += entry >> 8
                size = entry & 255
                if not entry or size > 11:
                    raise StreamFault("has codes that no encoder writes")
                if size:
                    bits = window[at >> 3] >> 32 - size - (at & 7) & (1 << size) - 1
                    levels[place] += bits if bits >> size - 1 else bits + 1 - (1 << size)
                    at += size
                if abs(levels[place]) * dc_step > _RANGE + dc_step:
                    raise StreamFault("has blocks brighter or darker than any encoder writes")
                coefficient = 1
                while coefficient < 64:
                    entry = ac[window[at >> 3] >> 16 - (at & 7) & 0xFFFF]
                    if not entry:
                        raise StreamFault("has codes that no encoder writes")
                    at += entry >> 8
                    size = entry & 15
                    run = entry >> 4 & 15
                    if size:
                        coefficient += run + 1
                        at += size
                        if (1 << size - 1) * ac_step > _RANGE + ac_step:
                            raise StreamFault("has coefficients that no encoder writes")
                    elif run == 15:
                        coefficient += 16
                    else:
                        break
                if coefficient > 64:
                    raise StreamFault("has blocks of more coefficients than any encoder writes")
                if at > end:
                    raise StreamFault("ends before its last block")
    except IndexError as error:
        raise StreamFault("ends before its last block") from error
    return at + 7 >> 3
