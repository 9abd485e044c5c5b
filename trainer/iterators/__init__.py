"""Who loads, by the name of the key ``iterator``; by construction none can change a bit."""

from __future__ import annotations

from typing import Dict, Type

from trainer.iterators.pool import Pool
from trainer.iterators.process import ProcessPool
from trainer.iterators.serial import SerialPool
from trainer.iterators.thread import ThreadPool

ITERATORS: Dict[str, Type[Pool]] = {
    "serial": SerialPool,
    "thread": ThreadPool,
    "process": ProcessPool,
}
