"""``custom``: pixels are read from a packed file; nothing is decoded."""

from __future__ import annotations

import hashlib
from typing import Any, Optional, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from manifests.record.keys import IMAGE_SIDE
from manifests.record.packed_file import RECORD, SHAPE, PackedFile, PackFault, own_decoder
from trainer import image
from trainer.loadtypes.views import Views
from trainer.sampleset import SampleSet
from trainer.table import SampleTable
from trainer.trouble import TrainerError

PACK_AGAIN = (
    "restore the packed file, or make it again from the same images (`bundle.py data pack`); "
    "then start the run again"
)


class PackedImages:
    """A record's sha256 and that of its image are checked when it is read while ``checked``, a byte
    per sample, is 0."""

    def __init__(self, samples: SampleSet, checked: npt.NDArray[np.uint8]) -> None:
        """Raises TrainerError when there is no whole packed file that this trainer can use."""
        self._set = samples
        self._table = SampleTable(samples.table)
        self._pack = _opened(samples, len(self._table))
        self._views = Views(samples)
        self._checked = checked

    def load(
        self, indices: Sequence[int], epochs: Optional[Sequence[int]], out: npt.NDArray[Any]
    ) -> None:
        writer = self._views.writer(indices, epochs, out)
        for index in indices:
            writer.add(self._planes(index))
        writer.finish()

    def _planes(self, index: int) -> npt.NDArray[np.uint8]:
        """uint8 (3, side, side); it may lie in the packed file itself."""
        seen = self._pack.mapped(index) if self._checked[index] else None
        record = self._read(index) if seen is None else seen
        planes = np.frombuffer(record, dtype=np.uint8).reshape(SHAPE)
        if self._views.side != IMAGE_SIDE:
            whole = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))
            planes = image.pixels(whole, self._views.side).transpose(2, 0, 1)
        return planes

    def _read(self, index: int) -> bytes:
        try:
            record = self._pack.record(index)
        except OSError as error:
            reason = error.strerror or str(error)
            raise self._unusable(index, f"cannot be read from: {reason}") from error
        if len(record) != RECORD:
            raise self._unusable(index, "was cut off while the run was under way")
        if not self._checked[index]:
            self._check(index, record)
            self._checked[index] = 1
        return record

    def _check(self, index: int, record: bytes) -> None:
        expected = self._table.entry(index).sha256
        made_of = self._pack.image_digest(index).hex()
        if made_of != expected:
            raise self._unusable(
                index, f"holds another image: expected sha256 {expected}, found {made_of}"
            )
        if hashlib.sha256(record).digest() != self._pack.record_digest(index):
            raise self._unusable(index, "was altered: its pixels do not fit their sha256")

    def _unusable(self, index: int, problem: str) -> TrainerError:
        what = self._table.describe(index)
        return TrainerError(f"{what}: its packed file {self._set.pack_name} {problem}", PACK_AGAIN)


def _opened(samples: SampleSet, expected: int) -> PackedFile:
    where = f"the packed file {samples.pack_name}"
    try:
        pack = PackedFile(samples.pack)
    except PackFault as fault:
        raise TrainerError(f"{where} {fault}", PACK_AGAIN) from fault
    except OSError as error:
        raise TrainerError(f"{where} cannot be read: {error.strerror}", PACK_AGAIN) from error
    if len(pack) != expected:
        table = f"{samples.table.parent.name}/{samples.table.name}"
        raise TrainerError(f"{where} holds {len(pack)} images, {table} has {expected}", PACK_AGAIN)
    if pack.header.decoder != own_decoder():
        raise TrainerError(
            f"{where} has pixels made by {pack.header.decoder}, "
            f"this image decodes with {own_decoder()}",
            PACK_AGAIN,
        )
    return pack
