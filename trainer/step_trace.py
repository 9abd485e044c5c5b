"""The trace of one step: digests of activations, gradients and state, written as they are made"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import chainer
import numpy as np

from manifests.record.run_files import RunFiles
from manifests.record.step_trace import Phase, TraceEntry, TraceHead, added_text
from trainer.communicators.ordered import fold
from trainer.communicators.summation import SumOrder
from trainer.data import TrainingBatch
from trainer.digest import tensor_digests
from trainer.files import JsonLines
from trainer.initial import named_arrays, named_gradients
from trainer.optimizers import Optimizer
from trainer.ranks import Ranks
from trainer.statistics import RankStatistics

#: Elements of one gradient that a process has of all ranks at a time.
PIECE = 1 << 20


class StepTrace:
    """Of the step with this number, counted from 1, on the ranks of this process.

    It reads arrays and changes none, so the step has the bits that it has without.
    """

    def __init__(self, files: RunFiles, ranks: Ranks, step: int) -> None:
        self.step = step
        self._ranks = ranks
        self._lines = {rank: JsonLines(files.trace_of(rank)) for rank in ranks.hosted}
        self._own: Dict[int, Dict[str, Any]] = {}
        for rank, lines in self._lines.items():
            head = TraceHead(step=step, rank=rank, host=socket.gethostname())
            lines.append(head.model_dump(mode="json"))

    def before(self, model: chainer.Link, optimizer: Optimizer, statistics: RankStatistics) -> None:
        """The state that the step begins with: each process's own copy of it."""
        parameters = _digests(named_arrays(model))
        state = _digests(optimizer.named_state())
        for rank in self._lines:
            for name, digest in {**parameters, **_digests(statistics.named(rank))}.items():
                self._write(rank, "before", *_parted(name), digest)
            for name, digest in state.items():
                layer, tensor = _parted(name)
                self._write(rank, "before", layer, f"optimizer's {tensor}", digest)

    @contextmanager
    def rank(self, rank: int, model: chainer.Link, batch: TrainingBatch) -> Iterator[None]:
        """Within, the rank computes its gradients."""
        samples = [slot.sample for slot in batch.slots]
        images, labels = _digest("images", batch.images), _digest("labels", batch.labels)
        self._write(rank, "batch", "", "images", images, samples)
        self._write(rank, "batch", "", "labels", labels)
        layers = _Layers(self, rank, model)
        with layers, _Functions(self, rank, layers):
            yield
        gradients = named_gradients(model)
        digests = _digests(gradients)
        for name in layers.from_last_to_first(list(gradients)):
            self._write(rank, "gradients", *_parted(name), digests[name])
        self._own[rank] = {name: _on_host(array) for name, array in gradients.items()}

    def loss(self, rank: int, loss: float) -> None:
        self._write(rank, "loss", "", "loss", float(loss).hex())

    def orders(self) -> None:
        """What the mean would be in other orders of summation. Collective over the processes."""
        for name in list(next(iter(self._own.values()))):
            means = self._means(name)
            layer, tensor = _parted(name)
            for block, mean in means.items():
                digest = _digest(name, mean)
                self._write(0, "orders", layer, f"{tensor}, {added_text(block)}", digest)
        self._own.clear()

    def _means(self, name: str) -> Dict[int, Any]:
        """On the process of rank 0 the mean of one gradient by the block of its order: each that
        this project has for so many ranks. A piece at a time is gathered: bounds the memory."""
        mine = [self._own[rank][name] for rank in self._ranks.hosted]
        flat = [np.ascontiguousarray(array, np.float32).ravel() for array in mine]
        size, ranks = flat[0].size, self._ranks.size
        blocks = [block for block in range(1, ranks + 1) if ranks % block == 0]
        found = {block: np.empty(size, np.float32) for block in blocks if 0 in self._lines}
        for start in range(0, size, PIECE):
            piece = slice(start, start + PIECE)
            rows = self._ranks.by_rank([array[piece] for array in flat])
            for block, mean in found.items():
                fold(rows, SumOrder(ranks, block), mean[piece])
        for mean in found.values():
            mean *= np.float32(1.0 / ranks)
        return {block: mean.reshape(mine[0].shape) for block, mean in found.items()}

    def reduced(self, model: chainer.Link) -> None:
        self._on_all("reduced", _digests(named_gradients(model)))

    def after(self, model: chainer.Link) -> None:
        self._on_all("after", _digests(named_arrays(model)))
        for lines in self._lines.values():
            lines.close()

    def write_array(self, rank: int, phase: Phase, layer: str, tensor: str, array: Any) -> None:
        self._write(rank, phase, layer, tensor, _digest(tensor, array))

    def _on_all(self, phase: Phase, digests: Mapping[str, str]) -> None:
        for rank in self._lines:
            for name, digest in digests.items():
                self._write(rank, phase, *_parted(name), digest)

    def _write(
        self,
        rank: int,
        phase: Phase,
        layer: str,
        tensor: str,
        digest: str,
        samples: Optional[List[int]] = None,
    ) -> None:
        entry = TraceEntry(phase=phase, layer=layer, tensor=tensor, digest=digest, samples=samples)
        self._lines[rank].append(entry.model_dump(mode="json", exclude_none=True))


class _Layers(chainer.LinkHook):  # type: ignore[misc]
    """What goes into each link and comes out of it, in the order of the calls."""

    name = "trace of layers"

    def __init__(self, trace: StepTrace, rank: int, model: chainer.Link) -> None:
        self._trace = trace
        self._rank = rank
        self._names = {id(link): "" if name == "/" else name for name, link in model.namedlinks()}
        self._called: List[str] = []
        self._inside: List[str] = []
        self._left = ""

    def place(self) -> Tuple[str, str]:
        """Where a function is called: in the innermost link; or between its parts, ``after it``,
        the part that was called last."""
        now = self._inside[-1] if self._inside else ""
        if self._left.startswith(f"{now}/"):
            return self._left, " after it"
        return now, ""

    def forward_preprocess(self, args: Any) -> None:
        name = self._names.get(id(args.link), "")
        self._inside.append(name)
        self._called.append(name)
        self._arrays(name, "input", args.args)

    def forward_postprocess(self, args: Any) -> None:
        name = self._left = self._inside.pop()
        self._arrays(name, "output", args.out if isinstance(args.out, tuple) else (args.out,))

    def from_last_to_first(self, parameters: Sequence[str]) -> List[str]:
        """Names of parameters in the order in which backpropagation comes to their layers."""
        place = {name: number for number, name in enumerate(self._called)}

        def depth(parameter: str) -> int:
            layer = parameter
            while layer not in place and layer:
                layer = layer.rpartition("/")[0]
            return place.get(layer, -1)

        return sorted(parameters, key=lambda name: (-depth(name), name))

    def _arrays(self, name: str, what: str, values: Sequence[Any]) -> None:
        arrays = [getattr(value, "array", value) for value in values]
        arrays = [array for array in arrays if hasattr(array, "dtype")]
        for number, array in enumerate(arrays):
            tensor = what if len(arrays) == 1 else f"{what} {number}"
            self._trace.write_array(self._rank, "forward", name, tensor, array)


class _Functions(chainer.FunctionHook):  # type: ignore[misc]
    """Gradients that come back to each function, from the last to the first, by its layer."""

    name = "trace of functions"

    def __init__(self, trace: StepTrace, rank: int, layers: _Layers) -> None:
        self._trace = trace
        self._rank = rank
        self._layers = layers
        #: The function is kept: nothing else may get its id.
        self._place: Dict[int, Tuple[Any, Tuple[str, str]]] = {}

    def forward_preprocess(self, function: Any, in_data: Any) -> None:
        self._place[id(function)] = (function, self._layers.place())

    def backward_preprocess(self, function: Any, in_data: Any, out_grad: Any) -> None:
        _, (layer, after) = self._place.get(id(function), (None, ("", "")))
        for array in out_grad:
            if array is not None:
                tensor = f"gradient of the output of {function.label}{after}"
                self._trace.write_array(self._rank, "backward", layer, tensor, array)


def _digests(arrays: Mapping[str, Any]) -> Dict[str, str]:
    """As the trail has them, or {} where there is no array."""
    return tensor_digests(arrays) if arrays else {}


def _digest(name: str, array: Any) -> str:
    return tensor_digests({name: array})[name]


def _on_host(array: Any) -> Any:
    return np.array(chainer.backends.cuda.to_cpu(array))


def _parted(name: str) -> Tuple[str, str]:
    """``/block1/conv/W`` -> layer and tensor."""
    layer, _, tensor = name.rpartition("/")
    return layer, tensor
