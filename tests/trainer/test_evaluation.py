"""Top-1 and top-5 accuracy against a plain sort, and over the shares of several ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, List, Sequence, Tuple

import chainer
import numpy as np
import pytest

from trainer.data import Batch
from trainer.evaluation import Correct, count_correct, evaluate
from trainer.statistics import RankStatistics

NAN, INF = float("nan"), float("inf")


def plain(scores: Any, labels: Any) -> Correct:
    """Sort the classes of each sample by falling score, then by number; look where the label is."""
    places = []
    for row, label in zip(scores.tolist(), labels.tolist()):
        order = sorted(range(len(row)), key=lambda k: (-row[k], k))
        places.append(order.index(label))
    return Correct(sum(place < 1 for place in places), sum(place < 5 for place in places))


@pytest.mark.parametrize("nclasses", [1, 2, 4, 5, 6, 8, 1000])
@pytest.mark.parametrize("levels", [2, 7, 100000], ids=["tied", "some ties", "distinct"])
def test_equal_to_a_plain_sort(nclasses: int, levels: int) -> None:
    rng = np.random.Generator(np.random.Philox([nclasses, levels]))
    scores = rng.integers(-levels, levels, (64, nclasses)).astype(np.float32)
    labels = rng.integers(0, nclasses, 64).astype(np.int32)
    found = count_correct(scores, labels)
    assert found == plain(scores, labels)
    assert found.top1 == (scores.argmax(axis=1) == labels).sum()
    if nclasses <= 5:
        assert found.top5 == 64


def test_of_equal_scores_the_lower_class_stands_first() -> None:
    scores = np.zeros((7, 7), np.float32)
    assert count_correct(scores, np.arange(7, dtype=np.int32)) == (1, 5)
    scores[:, 6] = 1  # stands before all others, so class 4 is the sixth
    assert count_correct(scores, np.arange(7, dtype=np.int32)) == (1, 5)
    assert count_correct(scores[:1], np.array([4], np.int32)) == (0, 0)
    assert count_correct(scores[:1], np.array([3], np.int32)) == (0, 1)


@pytest.mark.parametrize(
    ("row", "label", "expected"),
    [
        ([NAN, NAN, NAN], 0, (0, 0)),
        ([NAN, 1, 0], 0, (0, 0)),
        ([1, NAN, 0], 0, (0, 1)),
        ([INF, INF, -INF], 0, (1, 1)),
        ([INF, INF, -INF], 1, (0, 1)),
    ],
)
def test_scores_that_are_no_numbers(row: List[float], label: int, expected: Any) -> None:
    scores, labels = np.array([row], np.float32), np.array([label], np.int32)
    assert count_correct(scores, labels) == expected


class Scores(chainer.Chain):  # type: ignore[misc]
    """Gives the first pixels of an image as its scores."""

    def forward(self, x: Any) -> Any:
        return chainer.Variable(x.reshape(len(x), -1)[:, :8])


@dataclass
class Rank:
    """One rank and its data; ``before`` are the sums of the ranks that went before it."""

    rank: int
    size: int
    batches: List[Batch]
    before: List[float]

    @property
    def hosted(self) -> Tuple[int, ...]:
        return (self.rank,)

    def validation(self, hosted: Sequence[int], ranks: int) -> Iterator[Tuple[int, Batch]]:
        assert (hosted, ranks) == ((self.rank,), self.size)
        for batch in self.batches:
            yield self.rank, batch

    def sum(self, own: List[float]) -> float:
        (value,) = own
        total = self.before.pop(0) + value
        self.before.append(total)
        return total


def test_each_sample_counts_once_whatever_its_rank_and_batch() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    images = rng.standard_normal((13, 3, 2, 2), dtype=np.float32)
    labels = rng.integers(0, 8, 13).astype(np.int32)
    cuts = [[[0, 3, 6, 9, 12], [2]], [[1, 4, 7], [5, 8, 11]], [[10]], []]
    sums = [0.0] * 4
    for number, cut in enumerate(cuts):
        batches = [Batch(images[part], labels[part]) for part in cut]
        rank: Any = Rank(number, len(cuts), batches, sums)
        model = Scores()
        found = evaluate(model, RankStatistics(model, rank), rank, rank)
    scores = images.reshape(13, -1)[:, :8].astype(np.float64)
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(13), labels]
    top1, top5 = plain(scores, labels)
    assert 0 < top1 < top5 < 13
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-6)
    assert (found["accuracy"], found["accuracy_top5"]) == (top1 / 13, top5 / 13)
