"""Has this host a GPU at all? Asked before gigabytes are installed to find out that it has none.

python -m benchmarks.gpu_host
"""

from __future__ import annotations

import sys

from benchmarks.gpu_refusal import refuse
from manifests.host.asking import look_at_gpus
from manifests.host.gpus import Driver


def main() -> None:
    gpus = look_at_gpus()
    if gpus.driver == Driver():
        refuse("no NVIDIA driver is loaded on this host")
    version = gpus.driver.version or "of a version that it does not tell"
    print(f"NVIDIA driver {version}: {', '.join(gpus.names) or gpus.problem}", file=sys.stderr)


if __name__ == "__main__":
    main()
