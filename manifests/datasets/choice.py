"""A choice of classes and samples, as a pure function of seed, label and place.

Philox-4x64-10 (Salmon, Moraes, Dror, Shaw 2011), raw words only, as in the trainer. The word of
class c is the first of the stream with key (seed, 1001) and counter (0, c, 0, 0): the classes with
the smallest words are chosen. The word of a class's sample i, counted from 0 in the order of the
list, is word i of the stream with key (seed, 1002) and counter (0, c, 0, 0): again the smallest are
chosen. c is the label in the list that is chosen from. Of equal words the lower label or place.
"""

from __future__ import annotations

from typing import Iterable, List

import numpy as np

#: What a stream is for; never reused, and apart from the trainer's purposes, which are below 1000.
_CLASSES = 1001
_SAMPLES = 1002

FORMULA = (
    "smallest raw words of Philox-4x64-10, counter (0, c, 0, 0): for class c the first word of key "
    "(seed, 1001), for its sample i word i of key (seed, 1002)"
)


def _words(seed: int, purpose: int, label: int, count: int) -> np.ndarray:
    generator = np.random.Philox(
        key=np.array([seed, purpose], dtype=np.uint64),
        counter=np.array([0, label, 0, 0], dtype=np.uint64),
    )
    return np.asarray(generator.random_raw(count), dtype=np.uint64)


def chosen_classes(seed: int, labels: Iterable[int], count: int) -> List[int]:
    """``count`` of the distinct ``labels``, sorted; which ones does not depend on their order."""
    ranked = sorted((int(_words(seed, _CLASSES, label, 1)[0]), label) for label in labels)
    return sorted(label for _, label in ranked[:count])


def chosen_samples(seed: int, label: int, samples: int, count: int) -> List[int]:
    """``count`` of the places 0 to ``samples`` - 1 of a class, sorted."""
    words = _words(seed, _SAMPLES, label, samples)
    return sorted(int(place) for place in np.argsort(words, kind="stable")[:count])
