"""Files and folders that may be another account's: what cannot be read is as good as gone"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Callable, Union

Name = Union[str, Path]

PERMISSION = f"cannot be read: {os.strerror(errno.EACCES)}"


def file_here(path: Name) -> bool:
    """Whether this account can read a regular file of this name.

    ``Path.is_file`` raises where a folder on the way may not be searched.
    """
    return not file_problem(path)


def folder_here(path: Name) -> bool:
    """Whether this account can reach files of a folder of this name."""
    return not folder_problem(path)


def file_problem(path: Name) -> str:
    """Why no regular file can be read there, a sentence without its subject; "" where one can."""
    return _problem(path, stat.S_ISREG, "is not a regular file", os.R_OK)


def folder_problem(path: Name) -> str:
    """Why no files of a folder can be reached there, as :func:`file_problem`."""
    return _problem(path, stat.S_ISDIR, "is not a folder", os.X_OK)


def _problem(path: Name, wanted: Callable[[int], bool], otherwise: str, access: int) -> str:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  (asked of thousands of runs)
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:  # a null byte in a record
        return "does not exist"
    if not wanted(mode):
        return otherwise
    return "" if os.access(path, access) else PERMISSION
