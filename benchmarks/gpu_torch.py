"""Training steps of PyTorch's ResNet-50, timed: the peer in benchmarks.gpu.

python -m benchmarks.gpu_torch CONTEST | python -m benchmarks.gpu_torch look

Float32 without TF32 unless the contest is of `PyTorch, TF32`; mixed is autocast to float16 with
GradScaler and channels last, which is what PyTorch's own guide recommends.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple

import numpy as np
import torch

from benchmarks.gpu_contest import TORCH_TF32, Contest, answer, contest_of, timed
from benchmarks.torch_networks import NETWORKS

NCLASSES = 1000
SIDE, INSIZE = 256, 224
RATE, MOMENTUM, DECAY = 0.001, 0.9, 1e-4

Batches = Callable[[], Tuple[torch.Tensor, torch.Tensor]]


def look() -> Dict[str, Any]:
    if not torch.cuda.is_available():
        return {"problem": f"PyTorch {torch.__version__} of {sys.executable} sees no GPU"}
    return {
        "versions": {
            "torch": torch.__version__,
            "torch's cuda": str(torch.version.cuda),
            "torch's cudnn": str(torch.backends.cudnn.version()),
        }
    }


def settings(contest: Contest) -> None:
    tf32 = contest.who == TORCH_TF32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not contest.deterministic
    torch.backends.cudnn.deterministic = contest.deterministic
    torch.use_deterministic_algorithms(contest.deterministic, warn_only=True)


def synthetic(contest: Contest, device: torch.device) -> Batches:
    images = torch.rand(contest.batch, 3, INSIZE, INSIZE, device=device) - 0.5
    labels = torch.arange(contest.batch, device=device) % NCLASSES
    return lambda: (images, labels)


class Pixels(torch.utils.data.Dataset):
    """Random crops, half of them mirrored, of the pixels that the packed file holds too."""

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._length = length
        self._pixels: Any = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: int) -> Tuple[torch.Tensor, int]:
        if self._pixels is None:
            self._pixels = np.load(self._path, mmap_mode="r")
        index, dice = place % len(self._pixels), random.Random(place)
        top, left = (dice.randint(0, SIDE - INSIZE) for _ in range(2))
        cut = self._pixels[index][:, top : top + INSIZE, left : left + INSIZE]
        cut = cut[:, :, ::-1] if dice.randint(0, 1) else cut
        return torch.from_numpy(np.ascontiguousarray(cut)), index % NCLASSES


def packed(contest: Contest, device: torch.device) -> Batches:
    """By a DataLoader that delivers bytes in pinned memory; the mean is subtracted on the GPU."""
    steps = contest.warmup + contest.rounds * contest.steps
    loader = torch.utils.data.DataLoader(
        Pixels(Path(contest.folder) / "pixels.npy", steps * contest.batch),
        contest.batch,
        num_workers=contest.workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4,
    )
    mean = torch.full((3, INSIZE, INSIZE), 120.0, device=device)
    batches: Iterator[Any] = iter(loader)

    def following() -> Tuple[torch.Tensor, torch.Tensor]:
        pixels, labels = (part.to(device, non_blocking=True) for part in next(batches))
        return (pixels.float() - mean) * (1 / 255), labels

    return following


def prepare(contest: Contest, device: torch.device, batches: Batches) -> Callable[[], None]:
    torch.manual_seed(0)
    mixed = contest.precision == "mixed"
    model = NETWORKS[contest.arch](NCLASSES).to(device)
    if mixed:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    # The latter before PyTorch 2.3.
    make = torch.amp.GradScaler if hasattr(torch.amp, "GradScaler") else torch.cuda.amp.GradScaler
    scaler = make(enabled=mixed and device.type == "cuda")
    half = torch.float16 if device.type == "cuda" else torch.bfloat16

    def step() -> None:
        images, labels = batches()
        if mixed:
            images = images.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, half, mixed):
            (scores,) = model(images)
            loss = torch.nn.functional.cross_entropy(scores, labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        # As the trainer's loop, which writes down the loss of every step.
        loss.item()

    return step


def work(contest: Contest) -> None:
    settings(contest)
    device = torch.device("cuda" if contest.gpus else "cpu")
    batches = packed if contest.data == "packed" else synthetic
    step = prepare(contest, device, batches(contest, device))
    wait = torch.cuda.synchronize if contest.gpus else (lambda: None)
    answer(timed(step, wait, contest))


if __name__ == "__main__":
    if sys.argv[1] == "look":
        answer(look())
    else:
        work(contest_of(sys.argv[1]))
