"""How good a model is, in two numbers: a main one, in nats, and one that can be seen."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diptych.evaluation.elbo import elbo_terms, reconstruction_error
from diptych.panels import Panel
from model_specs.common.key import Key


class Scores(NamedTuple):
    """Of a data set. The less, the better."""

    neg_elbo: float | None  # main: nats per example; None where the loss holds no bound
    rmse: float  # secondary: of a pixel, in the units of x
    terms: dict[str, float]  # of the loss, "total" first, per example

    def numbers(self) -> dict[str, float]:
        """Both scores and the terms by name, for a record or a table."""
        main = {} if self.neg_elbo is None else {"neg_elbo": self.neg_elbo}
        return main | {"rmse": self.rmse} | self.terms


def evaluate(panel: Panel, x: np.ndarray, key: Key, batch_size: int = 500) -> Scores:
    """-ELBO and the error of the reconstructions, over all of x, in evaluation mode.

        -ELBO = (1/N) sum_n E_q[-log p(x_n|z)] + KL(q(z|x_n) || p(z))
        RMSE = sqrt((1/(N D)) sum_nd (recon_nd - x_nd)^2),   recon at z = mu(x)

    The ELBO has the noise that `key` names, example by example, so that `batch_size` decides how
    the work is cut and no number. beta does not enter: it weighs a training loss.
    Shapes: x (N, ...), D values an example.
    Raises: ValueError for x that the model refuses, or that is empty.
    """
    if len(x) == 0:
        raise ValueError(f"x: got shape {np.shape(x)}, takes one example or more")
    terms = elbo_terms(panel, x, key, batch_size)
    bound = negative_elbo(panel.model.config, terms, x[0].size)
    return Scores(bound, reconstruction_error(panel, x, batch_size), terms)


def negative_elbo(config: Any, terms: dict[str, float], values: int) -> float | None:
    """-ELBO = recon + KL, nats, from loss terms per example of so many `values`.

    None where recon is no -log p(x|z) or q(z|x) no density.
    """
    if not config.has_log_weight:
        return None
    recon_type = getattr(config, "recon_type", None)
    averaged = recon_type == "bce" and config.reduction == "mean"  # over the values
    return terms["recon"] * (values if averaged else 1) + terms["kl"]
