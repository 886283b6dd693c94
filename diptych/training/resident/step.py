"""Training steps on the device of the model, without a read of the device between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diptych.arrays import leaves, map_arrays
from diptych.evaluation.elbo import per_example
from diptych.panels import TorchPanel
from diptych.panels.panel import state_of, terms_of
from diptych.tasks import Task
from diptych.training.resident.capture import CapturedStep, is_capturable, on_stream
from diptych.training.resident.optimizers import rule_of
from diptych.training.resident.sources import SOURCES
from torch_impl.nn import checks

LINES = 256
"""The largest number of steps between two reads of the losses."""
MEMORY_MIB = 256
"""The memory of a block of inputs and noise and of its drawing, in MiB."""
DRAWING_BYTES = 64
"""Bytes of the largest intermediate results of Philox and Box-Muller for each random number."""


@dataclass(frozen=True)
class Reading:
    """The loss of one step, as it was read from the device."""

    size: int  # examples of the batch
    units: int  # images or tokens in it
    terms: Callable[[], dict[str, float]]
    """The terms per example. Raises: ValueError as the model's loss, for an invalid batch."""


class Block:
    """The inputs and the noise of up to `capacity` steps, at fixed addresses, and their step.

    `row` is the row of the next step, in a tensor that the step itself increases.
    """

    def __init__(self, inputs: Any, noise: Any, numbers: Tensor, capacity: int) -> None:
        def allocate(array: Tensor) -> Tensor:
            return array.new_empty((capacity, *array.shape[1:]))

        self.capacity = capacity
        self.inputs, self.noise = (map_arrays(allocate, part) for part in (inputs, noise))
        self.numbers = allocate(numbers)
        self.row = torch.zeros(1, dtype=torch.int64, device=numbers.device)
        self.steps = range(0)
        self.rate = 0.0
        self.step: CapturedStep
        self.pending: Any = None

    def fill(self, inputs: Any, noise: Any, numbers: Tensor, steps: range) -> None:
        """Copy the arrays of these steps, of which the first is the next."""
        parts = ((self.inputs, inputs), (self.noise, noise), (self.numbers, numbers))
        for buffers, values in parts:
            pairs = zip(leaves(buffers), leaves(values), strict=True)
            for (_, buffer), (_, value) in pairs:
                buffer[: len(steps)].copy_(value)
        self.row.zero_()
        self.steps = steps

    def next(self, part: Any) -> Any:
        """The arrays of the next step."""
        return map_arrays(lambda array: array.index_select(0, self.row)[0], part)


class ResidentStep:
    """The training steps of a task on one panel, of which every number stays on the device.

        step(n)   the inputs and the noise of step n, loss, gradients, clipping, update, average
        read()    the losses of the steps since the last call: the only transfer to the host

    Steps are counted from 0 and taken in order; `state` is that which a recurrent model carries
    into the first one. A loss that is NaN does not stop the steps before it is read.
    `memory_mib` bounds the memory of a block of steps; a smaller one makes smaller blocks.
    """

    def __init__(
        self, panel: TorchPanel, task: Task, state: Any = None, *, memory_mib: float = MEMORY_MIB
    ) -> None:
        start = time.perf_counter()
        self.panel, self.task, self.memory_mib = panel, task, memory_mib
        self.source = SOURCES[type(task)](task, panel)
        self.device = panel.model.device
        self.rule = rule_of(panel.optimizer, self.device)
        self.stream = torch.cuda.Stream(self.device) if is_capturable(self.device) else None
        self.state = map_arrays(torch.clone, state)
        self._zero: Any = None
        if hasattr(panel.model, "zero_state"):
            self._zero = panel.model.zero_state(self.source.size(0))
            self.state = panel.model.zero_state(self.source.size(0)) if state is None else state
        self._blocks: dict[int, Block] = {}
        self._line = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._table: Tensor | None = None
        self._names: list[str] = []
        self._taken: list[tuple[Block, int, int]] = []
        self.startup_seconds = time.perf_counter() - start
        """Seconds before the first replay: the upload of the data, warm-up steps and captures."""

    @property
    def captured(self) -> bool:
        """True if steps are replayed from a CUDA graph."""
        return any(block.step.graph is not None for block in self._blocks.values())

    @property
    def failure(self) -> str:
        """Why the steps of this run cannot be captured; "" if they can."""
        return next((b.step.failure for b in self._blocks.values() if b.step.failure), "")

    def step(self, number: int) -> None:
        """Take step `number` of the run. Raises: ValueError if LINES steps wait for `read`."""
        if len(self._taken) == LINES:
            raise ValueError(f"step: got {LINES} steps without a read, takes fewer")
        start = time.perf_counter()
        with on_stream(self.stream):
            epoch, index = divmod(number, self.task.steps_per_epoch)
            block = self._block(number, epoch, index)
            if index == 0 and self.source.carries:
                for _, part in leaves(self.state):
                    part.zero_()
            is_starting = block.step.is_starting
            block.step()
        block.steps = block.steps[1:]
        self._taken.append((block, self.source.size(index), self.source.units(index)))
        if is_starting:
            self.startup_seconds += time.perf_counter() - start

    def read(self) -> list[Reading]:
        """Download the losses of the steps since the last call."""
        if self._table is None or not self._taken:
            return []
        count = len(self._taken)
        with on_stream(self.stream):
            rows = self._table[:count].tolist()
            self._line.zero_()
        readings = [
            self._reading(*taken, row) for taken, row in zip(self._taken, rows, strict=True)
        ]
        self._taken = []
        self.panel.count_steps(count)
        self.rule.set_steps(self.panel.steps)
        return readings

    def _reading(self, block: Block, size: int, units: int, row: list[float]) -> Reading:
        names, pending = self._names, block.pending

        def terms() -> dict[str, float]:
            pending.raise_for(row[len(names) :])
            values = dict(zip(names, row, strict=False))
            return per_example(self.panel.model.config, values, size)

        return Reading(size, units, terms)

    def _block(self, number: int, epoch: int, index: int) -> Block:
        """The block whose next step is `number`, filled if need be."""
        size = self.source.size(index)
        rate = self.task.config.lr_at(epoch)
        block = self._blocks.get(size)
        if block is None:
            block = self._blocks[size] = self._allocate(number, index, rate)
        if not block.steps or block.steps[0] != number:
            count = min(block.capacity, self.source.steps_alike(index))
            numbers = self._numbers(number, count, rate)
            block.fill(*self.source.draw(number, count), numbers, range(number, number + count))
        if block.rate != rate and self.rule.captures_rate:
            block.step.forget()
        block.rate = rate
        return block

    def _allocate(self, number: int, index: int, rate: float) -> Block:
        """A block for the batches of the size of step `number`, as large as the memory allows."""
        inputs, noise = self.source.draw(number, 1)
        arrays = [[array for _, array in leaves(part)] for part in (inputs, noise)]
        copies = sum(2 * array.nbytes for part in arrays for array in part)
        drawn = arrays if self.source.draws_inputs else arrays[1:]
        words = sum(array.numel() for part in drawn for array in part)
        fitting = int(self.memory_mib * 2**20 / max(1, copies + DRAWING_BYTES * words))
        capacity = max(1, min(fitting, LINES, self.source.steps_alike(index)))
        block = Block(inputs, noise, self._numbers(number, 1, rate), capacity)
        block.step = CapturedStep(lambda: self._step(block), self.stream)
        return block

    def _numbers(self, number: int, count: int, rate: float) -> Tensor:
        """The numbers of the optimiser for these steps. -> (S, numbers of a step)"""
        rows = [self.rule.numbers(rate, step + 1) for step in range(number, number + count)]
        numbers = torch.tensor(rows, dtype=self.panel.model.dtype)
        return numbers.to(self.device, non_blocking=True)

    def _step(self, block: Block) -> None:
        """One training step in tensors alone, without a value that the host has to know."""
        panel, config = self.panel, self.task.config
        inputs, noise = block.next(block.inputs), block.next(block.noise)
        if self._zero is not None:
            inputs = inputs._replace(state=self.state if self.source.carries else self._zero)
        panel.model.zero_grad(set_to_none=True)
        with checks.deferred() as pending:
            loss = panel.training_loss(inputs, noise)
        loss.total.backward()
        if config.clip is not None:
            torch.nn.utils.clip_grad_norm_(panel.model.parameters(), config.clip)
        self.rule.update(block.next(block.numbers), block.rate)
        if panel.average is not None:
            panel.average.update()
        for (_, old), (_, new) in zip(leaves(self.state), leaves(state_of(loss)), strict=True):
            old.copy_(new)
        terms = dict(terms_of(loss))
        values = pending.tensor(*terms.values())
        if self._table is None:
            self._names = list(terms)
            self._table = values.new_empty(LINES, len(values))
        self._table.index_copy_(0, self._line, values[None])
        self._line.add_(1)
        block.row.add_(1)
        block.pending = pending
