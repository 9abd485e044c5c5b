"""Two trails -> whether they agree in each step; read line by line, in memory of a byte a step"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from container.progress import Advance
from container.trouble import Trouble
from manifests.record.outcome import TrailRecord
from manifests.rundir.records import RESTORE, parse_trail
from manifests.verdict.comparison import StepDifference, StepItem
from manifests.verdict.trail_difference import TrailFinding, missing_item, record_items

#: States of a step. One is compared where at least one rank recorded it in both runs.
NOT_COMPARED, EQUAL, DIFFERENT = 0, 1, 2

#: What is known of a step while files are read: bits of one byte.
_BOTH, _UNEQUAL, _ONE, _TENSORS_A, _TENSORS_B = 1, 2, 4, 8, 16
_PARTED = _UNEQUAL | _ONE
_TENSORS = _TENSORS_A | _TENSORS_B

#: How the trainer begins a line; other lines are parsed.
_STEP = re.compile(rb'\{"step": ?([0-9]{1,18}),')
#: Steps from the first to the last, both included.
Window = Tuple[int, int]
WHOLE: Window = (0, sys.maxsize)

_PARAMETERS = b'"parameters"'


@dataclass(frozen=True)
class StepStates:
    """``states`` has one byte per step, from step 0 on: the state before the first update."""

    states: bytes
    finding: TrailFinding


class _Lines:
    """The lines of one rank's trail in a window, one after the other, each with its ``step``.

    ``line`` is empty past the last whole one, ``step`` is then that of the last. Raises Trouble for
    a line that is not a record and for steps that are not in order.
    """

    def __init__(self, path: Path, window: Window) -> None:
        self.path = path
        self.first, self.last = window
        self.number = 0
        self.step = -1
        self.line = b""
        self._read = -1
        self._stream = path.open("rb")

    def advance(self) -> None:
        while True:
            line = self._stream.readline()
            if not line.endswith(b"\n"):  # the end, or a line that a killed rank did not finish
                self.line = b""
                return
            self.number += 1
            self.line = line
            before, self._read = self._read, self._step_of_line()
            if self._read <= before:
                raise Trouble(
                    f"{self.path}, line {self.number}: step {self._read} follows step {before}",
                    RESTORE,
                )
            if self._read > self.last:
                self.line = b""
                return
            if self._read >= self.first:
                self.step = self._read
                return

    def _step_of_line(self) -> int:
        found = _STEP.match(self.line)
        return int(found[1]) if found else self.record().step

    def record(self) -> TrailRecord:
        try:
            return parse_trail(self.line, "")[0]
        except Trouble:
            raise Trouble(
                f"{self.path}, line {self.number}: is not a trail record", RESTORE
            ) from None

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stream.close()


def compare_steps(
    a: Sequence[Path],
    b: Sequence[Path],
    advance: Advance = lambda _count: None,
    *,
    window: Window = WHOLE,
) -> StepStates:
    """The trail files of two runs, one for each rank -> the state of every step, and what
    :func:`trail_difference` finds over the ranks that both have.

    Only the steps of ``window`` are compared, from its first to its last.
    ``advance`` is called with 1 for each rank. Raises Trouble for a missing or damaged file.
    """
    flags = bytearray()
    ends: List[Tuple[int, int]] = []
    for of_a, of_b in zip(a, b):
        ends.append(_mark(of_a, of_b, flags, window))
        advance(1)
    a_end, b_end = (min((pair[side] for pair in ends), default=-1) for side in (0, 1))
    a_end, b_end = (
        min([end, *(_last_step(path, window) for path in files[len(ends) :])])
        for end, files in ((a_end, a), (b_end, b))
    )
    compared = min(a_end, b_end) + 1
    states = bytes(map(_state, flags[:compared])) + bytes(len(flags) - min(compared, len(flags)))
    return StepStates(states, _finding(a, b, flags[:compared], a_end, b_end))


def _state(flags: int) -> int:
    if flags & _PARTED:
        return DIFFERENT
    return EQUAL if flags & _BOTH else NOT_COMPARED


def _opened(path: Path, window: Window = WHOLE) -> _Lines:
    try:
        return _Lines(path, window)
    except FileNotFoundError:
        raise Trouble(f"{path}: does not exist", RESTORE) from None
    except OSError as error:
        raise Trouble(f"{path}: cannot be read: {error.strerror}", "check the path") from error


def _mark(a: Path, b: Path, flags: bytearray, window: Window) -> Tuple[int, int]:
    """Add what two files of one rank say of each step; return the last step of each."""
    with _opened(a, window) as of_a, _opened(b, window) as of_b:
        of_a.advance()
        of_b.advance()
        while of_a.line or of_b.line:
            if of_a.line and of_b.line and of_a.step == of_b.step:
                known = flags[of_a.step] if of_a.step < len(flags) else 0
                _note(flags, of_a.step, _pair(of_a, of_b, known))
                of_a.advance()
                of_b.advance()
            elif of_a.line and (not of_b.line or of_a.step < of_b.step):
                _note(flags, of_a.step, _ONE)
                of_a.advance()
            else:
                _note(flags, of_b.step, _ONE)
                of_b.advance()
        return of_a.step, of_b.step


def _note(flags: bytearray, step: int, bits: int) -> None:
    if step >= len(flags):
        flags.extend(bytes(step + 1 - len(flags)))
    flags[step] |= bits


def _pair(a: _Lines, b: _Lines, known: int) -> int:
    """What two lines of a step say; one that is ``known`` to differ is not looked into again."""
    bits = _BOTH
    if _PARAMETERS in a.line:
        bits |= _TENSORS_A
    if _PARAMETERS in b.line:
        bits |= _TENSORS_B
    if a.line != b.line and not known & _UNEQUAL and record_items(0, a.record(), b.record()):
        bits |= _UNEQUAL
    return bits


def _last_step(path: Path, window: Window) -> int:
    with _opened(path, window) as lines:
        lines.advance()
        while lines.line:
            lines.advance()
        return lines.step


def _finding(
    a: Sequence[Path], b: Sequence[Path], flags: bytearray, a_end: int, b_end: int
) -> TrailFinding:
    parted = next((step for step, bits in enumerate(flags) if bits & _PARTED), None)
    equal = [step for step, bits in enumerate(flags[:parted]) if bits & _BOTH]
    tensors = [step for step in equal if flags[step] & _TENSORS == _TENSORS]
    return TrailFinding(
        first=None if parted is None else StepDifference(step=parted, items=_items(a, b, parted)),
        last_equal=equal[-1] if equal else None,
        last_parameters=tensors[-1] if tensors else None,
        steps=len(equal) - (0 in equal[:1]),
        tensors=len(tensors),
        a_end=a_end,
        b_end=b_end,
    )


def _items(a: Sequence[Path], b: Sequence[Path], step: int) -> List[StepItem]:
    found: List[StepItem] = []
    for rank, sides in enumerate(zip(a, b)):
        of_a, of_b = (_record_at(path, step) for path in sides)
        if of_a is not None and of_b is not None:
            found += record_items(rank, of_a, of_b)
        elif of_a is not None or of_b is not None:
            found.append(missing_item(rank, of_a is not None, of_b is not None))
    return found


def _record_at(path: Path, step: int) -> Optional[TrailRecord]:
    with _opened(path) as lines:
        lines.advance()
        while lines.line and lines.step < step:
            lines.advance()
        return lines.record() if lines.line and lines.step == step else None
