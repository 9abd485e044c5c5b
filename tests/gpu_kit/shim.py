"""Plan B of the verbs: answers as Apptainer does where bundle asks, and enters the image by chroot.

python -m tests.gpu_kit.shim --version | [--quiet] exec [OPTION...] IMAGE WORD...
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import Dict, List

from tests.gpu_kit.inside import Bind, Inside

VALUED = ("--mount", "--env", "--pwd", "--bind")


def main(given: List[str]) -> None:
    if given == ["--version"]:
        print("apptainer version 1.4.5-chroot")
        return
    words = [word for word in given if word != "--quiet"]
    if not words or words.pop(0) != "exec":
        sys.exit("shim: only exec")
    binds: List[Bind] = []
    env: Dict[str, str] = {}
    cwd = "/"
    while words and words[0].startswith("--"):
        option = words.pop(0)
        value = words.pop(0) if option in VALUED else ""
        if option == "--mount":
            fields = next(csv.reader([value]))
            known = dict(field.split("=", 1) for field in fields if "=" in field)
            access = "ro" if "ro" in fields else ""
            binds.append((Path(known["source"]), known["destination"], access))
        elif option == "--env":
            name, _, text = value.partition("=")
            env[name] = text
        elif option == "--pwd":
            cwd = value
    argv = Inside(False, "chroot").argv(words[1:], binds, env, cwd)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1:])
