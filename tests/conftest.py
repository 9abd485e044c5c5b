"""What holds for every test."""

from __future__ import annotations

import os

#: Hints name the program by the words of its caller; tests call it by long paths.
os.environ["BUNDLE_CALLED"] = "python bundle.py"
