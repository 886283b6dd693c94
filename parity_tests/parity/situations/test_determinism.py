"""Models that are random, that change from call to call, or that read a state of their process."""

import os
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of, with_buffers
from torch import nn

X = draw(5, 4)
RANDOM = "not deterministic"


def _double(factor=2.0):
    return left(forward=lambda self, x: (factor * x, lambda dy: factor * dy))


def _right_double():
    return right(forward=lambda self, x: 2 * x)


def _counting(module_factory, factor_of_call):
    """A model whose forward depends on the number of its calls."""

    def forward(self, x):
        self.calls += 1
        factor = factor_of_call(self.calls)
        return (factor * x, lambda dy: factor * dy) if module_factory is left else factor * x

    return module_factory(forward=forward, calls=0)


@situation("2", differs=["left", "right", "both"], says=RANDOM)
def noise_drawn_inside_a_forward(side):
    def left_forward(self, x):
        noise = np.random.normal(size=x.shape)  # noqa: NPY002
        return x + (noise if side != "right" else 0), lambda dy: dy

    def right_forward(self, x):
        return x + (torch.randn_like(x) if side != "left" else 0)

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("2", differs=["training"], says=rf"{RANDOM}.*drop")
def dropout_in_training_mode(_):
    """The first line names the module that is random."""
    model = right(forward=lambda self, x: 2 * self.drop(x), drop=nn.Dropout(0.5))
    return pair(_double(), model, X)


@situation("2", agrees=[2.0], differs=[2.001], first="forward")
def dropout_in_evaluation_mode(factor):
    model = right(forward=lambda self, x: 2 * self.drop(x), drop=nn.Dropout(0.5))
    return pair(_double(factor).eval(), model.eval(), X)


@situation("2", agrees=[2.0], differs=[2.001], first="forward")
def dropout_of_rate_zero(factor):
    model = right(forward=lambda self, x: 2 * self.drop(x), drop=nn.Dropout(0.0))
    return pair(_double(factor), model, X)


@situation("2", agrees=[1.0], differs=[1.001], first="forward")
def noise_of_a_fixed_seed_inside_a_forward(factor):
    noise = torch.randn(5, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def forward(self, x):
        generator = torch.Generator().manual_seed(3)
        return x + torch.randn(5, 4, generator=generator, dtype=torch.float64)

    model_left = left(
        forward=lambda self, x: (factor * (x + noise.numpy()), lambda dy: dy * factor)
    )
    return pair(model_left, right(forward=forward), X)


@situation("2", differs=["right"], says=RANDOM)
def generator_that_the_model_holds(_):
    def forward(self, x):
        return x + torch.randn(5, 4, generator=self.generator, dtype=torch.float64)

    generator = torch.Generator().manual_seed(3)
    first = torch.randn(5, 4, generator=generator, dtype=torch.float64).numpy()
    generator.manual_seed(3)
    model_left = left(forward=lambda self, x: (x + first, lambda dy: dy))
    return pair(model_left, right(forward=forward, generator=generator), X)


@situation("2", agrees=[2.0], differs=[2.001], first="forward")
def random_number_that_is_not_used(factor):
    def forward(self, x):
        torch.rand(3)
        return 2 * x

    return pair(_double(factor), right(forward=forward), X)


@situation("hostile", differs=["left", "right"])
def result_that_changes_with_each_call(side):
    def grow(calls):
        return 2.0 + calls

    if side == "left":
        return pair(_counting(left, grow), _right_double(), X)
    return pair(_double(), _counting(right, grow), X)


@situation("hostile", differs=["left", "right"])
def first_call_that_differs_from_the_others(side):
    """Only the first call is right, for example because the second one finds a cache."""

    def warm_up(calls):
        return 2.0 if calls == 1 else 3.0

    if side == "left":
        return pair(_counting(left, warm_up), _right_double(), X)
    return pair(_double(), _counting(right, warm_up), X)


@situation("hostile", agrees=[2.0], differs=[2.001], first="forward")
def weights_created_by_the_first_call(factor):
    def forward(self, x):
        if not hasattr(self, "scale"):
            self.scale = torch.full((4,), 2.0, dtype=x.dtype)
        return self.scale * x

    return pair(_double(factor), right(forward=forward), X)


@situation("hostile", agrees=[1.0], differs=[1.001], first="forward")
def output_that_depends_on_a_registered_counter(factor):
    """Both sides count their calls in a buffer, so that each run starts from the same state."""

    def left_forward(self, x):
        self.steps.data += 1
        scale = factor * float(self.steps.data)
        return scale * x, lambda dy: scale * dy

    def right_forward(self, x):
        self.steps += 1
        return float(self.steps) * x

    twins = left(forward=left_forward), right(forward=right_forward)
    return pair(*(with_buffers(side, steps=np.zeros(())) for side in twins), X)


@situation("hostile", differs=["backward"], first="forward(x)")
def gradient_that_is_random(_):
    def forward(self, x):
        y = 2 * x
        y.register_hook(lambda gradient: gradient * (1 + torch.rand(())))
        return y

    return pair(_double(), right(forward=forward), X)


@situation("hostile", agrees=["same"], differs=["other"], first="forward")
def cache_of_the_last_result(kind):
    def forward(self, x):
        if self.cache is None:
            self.cache = 2 * x.detach()
        return 2 * x - 2 * x.detach() + self.cache

    return pair(_double(2.0 if kind == "same" else 2.1), right(forward=forward, cache=None), X)


@situation(
    "hostile",
    agrees=["train"],
    differs=["left in evaluation", "right in evaluation"],
    first="forward",
)
def mode_of_the_two_sides(mode):
    def left_forward(self, x):
        factor = 2.0 if self.training else 1.0
        return factor * x, lambda dy: factor * dy

    twins = (
        left(forward=left_forward),
        right(forward=lambda self, x: 2 * x if self.training else 1 * x),
    )
    if mode != "train":
        twins[mode.startswith("right")].eval()
    return pair(*twins, X)


@situation("hostile", differs=["batch norm"], says="forward|norm")
def evaluation_mode_of_a_batch_normalisation(_):
    def norm(self, x):
        s = x.std(0)
        return (x - x.mean(0)) / s, lambda dy: dy / s

    model = right(
        forward=lambda self, x: self.norm(x), norm=nn.BatchNorm1d(4, affine=False).double()
    )
    return pair(left(forward=norm), model.eval(), X, ignore=["norm.*"])


@situation("hostile", agrees=[2.0], differs=[3.0], first="forward")
def output_that_depends_on_an_environment_variable(factor):
    os.environ.pop("SCALE_OF_THE_TEST", None)
    model = right(forward=lambda self, x: float(os.environ.get("SCALE_OF_THE_TEST", "2")) * x)
    return pair(_double(factor), model, X)


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward")
def output_that_depends_on_gradient_mode(factor):
    """The user trains this model, so gradients are recorded."""
    return pair(
        _double(factor),
        right(forward=lambda self, x: 2 * x if torch.is_grad_enabled() else x),
        X,
    )


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward")
def output_that_depends_on_a_patch_of_its_forward(factor):
    """A trace that replaces methods would be seen by the model."""

    def forward(self, x):
        return 2 * x if "forward" not in vars(self) else 1 * x

    return pair(_double(factor), right(forward=forward), X)


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward")
def output_that_depends_on_hooks(factor):
    """A trace that registers hooks would be seen by the model."""

    def forward(self, x):
        return 2 * x if not (self._forward_hooks or self._forward_pre_hooks) else 1 * x

    return pair(_double(factor), right(forward=forward), X)


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward")
def output_that_depends_on_the_class_of_its_child(factor):
    def forward(self, x):
        return self.act(x) * (2 if type(self.act) is nn.Identity else 1)

    return pair(_double(factor), right(forward=forward, act=nn.Identity()), X)


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward")
def output_that_depends_on_the_class_of_its_input(factor):
    def forward(self, x):
        return 2 * x if type(x) is torch.Tensor else 1 * x

    return pair(_double(factor), right(forward=forward), X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_models_with_a_state(case):
    case.check()


def test_each_side_runs_twice_in_float64_and_each_vjp_once():
    """With the trace and without it; more runs only if a tensor is off."""
    calls = Counter()

    def left_forward(self, x):
        calls["left"] += 1
        first = calls["left"]

        def vjp(dy):
            calls["vjp", first] += 1
            return 2 * dy

        return 2 * x, vjp

    def right_forward(self, x):
        calls["right"] += 1
        return 2 * x

    report = pair(left(forward=left_forward), right(forward=right_forward), X).run()
    assert report.ok and calls["left"] <= 2 and calls["right"] <= 2
    assert all(count == 1 for name, count in calls.items() if isinstance(name, tuple))
