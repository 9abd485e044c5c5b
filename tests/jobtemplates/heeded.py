"""For programs that stand for mpirun: has the job script heeded the signal that they sent it?"""

from __future__ import annotations

#: ``heeded()`` returns when it has: from then on it waits for them beside a `sleep` of its own.
HEEDED = """
def heeded():
    import glob, os, time
    def children():
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                fields = open(path, errors="replace").read().rpartition(")")[2].split()
            except OSError:
                continue
            if len(fields) > 1 and int(fields[1]) == os.getppid():
                yield int(path.split("/")[2])
    while set(children()) <= {os.getpid()}:
        time.sleep(0.01)
"""
