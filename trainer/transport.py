"""Which of its components the image's Open MPI 4.1 took for messages, asked of the library."""

from __future__ import annotations

import ctypes
from typing import List

#: Offsets in bytes of Open MPI 4.1's structures on 64-bit machines (opal/mca/mca.h,
#: mca_base_component_t; opal/class/opal_list.h; opal/mca/btl/base/base.h).
NAME = 84
LIST_SENTINEL, ITEM_NEXT, ITEM_COMPONENT = 16, 16, 40


def transport() -> str:
    """``pml ob1, btl self tcp vader``; with ``mtl`` for a pml that uses one. MPI must be up.

    "unknown" where the library is another one and does not have these names.
    """
    try:
        mpi, opal = ctypes.CDLL("libmpi.so.40"), ctypes.CDLL("libopen-pal.so.40")
        pml = _name_at(_address(mpi, "mca_pml_base_selected_component"))
        if pml == "ob1":
            names = sorted(set(_names_in(_address(opal, "mca_btl_base_modules_initialized"))))
            return f"pml {pml}, btl {' '.join(names)}"
        mtl = ctypes.c_void_p.in_dll(mpi, "ompi_mtl_base_selected_component").value
        return f"pml {pml}, mtl {_name_at(mtl)}" if mtl else f"pml {pml}"
    except (OSError, ValueError):
        return "unknown"


def _address(library: ctypes.CDLL, name: str) -> int:
    return ctypes.addressof(ctypes.c_char.in_dll(library, name))


def _name_at(component: int) -> str:
    return ctypes.string_at(component + NAME).decode("ascii", "replace")


def _names_in(components: int) -> List[str]:
    sentinel = components + LIST_SENTINEL
    names, item = [], _pointer(sentinel + ITEM_NEXT)
    while item != sentinel:
        names.append(_name_at(_pointer(item + ITEM_COMPONENT)))
        item = _pointer(item + ITEM_NEXT)
    return names


def _pointer(address: int) -> int:
    return ctypes.c_void_p.from_address(address).value or 0
