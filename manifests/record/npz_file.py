"""Model files: Chainer's npz form, with bytes that depend on the arrays alone."""

from __future__ import annotations

import io
import zipfile
from typing import Any, Mapping


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """What ``chainer.serializers.load_npz`` reads, stored uncompressed, names sorted.

    The zip headers carry a fixed time stamp and mode instead of those of the moment.
    """
    import numpy as np

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
            # Whole entries: headers of streamed ones differ between patch releases of Python.
            archive.writestr(entry, stream.getvalue())
    return buffer.getvalue()
