"""Limits of this process: a process of many ranks has a trail open for each of them."""

from __future__ import annotations

import resource

from trainer.trouble import TrainerError

#: Files that a process has open besides trails: libraries, MPI's sockets, loaders' pipes, images.
OTHERS = 512


def allow_open_files(trails: int) -> None:
    """Raise the soft limit of open files where so many trails need it, as far as the hard one.

    Raises TrainerError where that is too low.
    """
    needed = trails + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < trails + OTHERS // 4:
        raise TrainerError(
            f"a process of {trails} ranks needs {needed} open files, its limit is {hard}",
            "start the run with more processes, or ask the administrator of the site to raise the "
            "limit of open files (ulimit -Hn)",
        )
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
