"""Which site this host most likely submits to, by the commands of schedulers that it has"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import List, Mapping, Optional

from container.trouble import Trouble
from jobtemplates.schedulers import SCHEDULERS
from jobtemplates.sites import PROFILES, load_site, profile_folders, profiles_in

#: The project's profile of a scheduler without node types or limits of its own.
_GENERAL = {"slurm": "slurm", "gridengine": "gridengine", "pbs": "pbs"}

#: qsub and qstat are names of two schedulers: these commands only one of them has.
_TELLS = {"gridengine": ("qconf", "qacct"), "pbs": ("pbsnodes", "qmgr")}


def scheduler_here(environ: Mapping[str, str]) -> Optional[str]:
    """The scheduler whose commands are on PATH; None where there is none."""
    path = environ.get("PATH", "")

    def there(name: str) -> bool:
        return shutil.which(name, path=path) is not None

    for name, scheduler in SCHEDULERS.items():
        if all(there(command) for command in scheduler.commands[:2]) and (
            name not in _TELLS or any(there(command) for command in _TELLS[name])
        ):
            return name
    return None


def guessed_site(environ: Mapping[str, str]) -> str:
    """A profile of the user or the administrator for this scheduler, where there is one alone, else
    the project's general one; ``local`` where there is no scheduler."""
    scheduler = scheduler_here(environ)
    if scheduler is None:
        return "local"
    folders = profile_folders(environ)
    own = [name for name in _own_profiles(folders) if _scheduler_of(name, folders) == scheduler]
    return own[0] if len(own) == 1 else _GENERAL[scheduler]


def _own_profiles(folders: List[Path]) -> List[str]:
    return sorted(
        {name for folder in folders if folder != PROFILES for name in profiles_in(folder)[0]}
    )


def _scheduler_of(name: str, folders: List[Path]) -> Optional[str]:
    """None for a profile with faults: a message comes when it is used."""
    try:
        return load_site(name, folders).scheduler
    except Trouble:
        return None
