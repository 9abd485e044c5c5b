"""What holds for every test."""

from __future__ import annotations

import os
from typing import List

import pytest

#: Hints name the program by the words of its caller; tests call it by long paths.
os.environ["BUNDLE_CALLED"] = "python bundle.py"


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Files with tests that take long come first: at the end no process waits for another one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
