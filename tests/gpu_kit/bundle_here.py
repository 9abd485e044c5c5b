"""The project's command line by a Python that is not its .venv.

python -m tests.gpu_kit.bundle_here WORD...
"""

import os
import sys

for name in ("PYTHONHOME", "PYTHONPATH"):  # for this process alone, not for what it starts
    os.environ.pop(name, None)

import bundle  # noqa: E402

if __name__ == "__main__":
    sys.argv[0] = bundle.__file__
    bundle.main()
