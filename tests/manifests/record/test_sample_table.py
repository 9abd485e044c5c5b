"""The form of sample tables: one on both sides of the container."""

from __future__ import annotations

import pytest

from manifests.datasets.table import parse_table
from manifests.record.alteration import was_altered
from manifests.record.sample_table import Sample, TableFault, read_sample, write_sample

SHA = "0123456789abcdef" * 4


@pytest.mark.parametrize("path", ["a.jpg", 'a b/"c" it\'s.jpg', "café/日本", "a\u2028b", " x "])
def test_what_is_written_is_read(path: str) -> None:
    sample = Sample(SHA, 7, path)
    line = write_sample(sample)
    assert line == f"{SHA}\t7\t{path}\n".encode()
    assert read_sample(line[:-1]) == sample


@pytest.mark.parametrize(
    "line",
    [b"", b"\t\t", f"{SHA} 0 a".encode(), f"{SHA}\t0\t".encode(), f"{SHA}\t-1\ta".encode(),
     f"{SHA}\tx\ta".encode(), f"{SHA[1:]}\t0\ta".encode(), f"{SHA.upper()}\t0\ta".encode(),
     f"{SHA}\t0\ta\tb".encode(), f"{SHA}\t0\ta\nb".encode(), f"{SHA}\t{'1' * 11}\ta".encode()],
)  # fmt: skip
def test_what_is_no_line(line: bytes) -> None:
    with pytest.raises(TableFault) as caught:
        read_sample(line)
    assert str(caught.value) == "is not `<sha256>\\t<label>\\t<path>`"


def test_a_table_on_the_host() -> None:
    good = write_sample(Sample(SHA, 0, "a")) + write_sample(Sample(SHA, 1, "b"))
    assert parse_table(good, "t") == ([SHA, SHA], ["a", "b"], [])
    problems = [
        "t, line 2: is not `<sha256>\\t<label>\\t<path>`",
        "t: does not end with a whole line",
    ]
    assert parse_table(good[:68] + b"x\n" + good[68:-1], "t")[2] == problems


def test_the_sentence_on_altered_bytes() -> None:
    assert was_altered("a", "b") == "was altered: sha256 a, expected b"
    assert was_altered("a", "b", "were") == "were altered: sha256 a, expected b"
