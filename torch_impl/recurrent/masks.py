"""Draw the dropout masks of a recurrent network.

Shapes: those of model_specs.recurrent.dropout.Masks.
Source: Zaremba et al. (2014), arXiv 1409.2329; Gal & Ghahramani (2016), arXiv 1512.05287.
Left panel: numpy_ref/recurrent/masks.py
"""

from __future__ import annotations

from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key
from model_specs.recurrent.dropout import Masks, mask_plans
from torch_impl.nn import random
from torch_impl.recurrent.network import Recurrent


def draw_masks(
    layers: Recurrent, key: Key, batch_size: int, length: int | None = None, first: int = 0
) -> Masks:
    """Draw the masks of the layers' scheme for `length` steps (None: config.seq_len).

    In evaluation mode no masks are drawn. `first` is the index of the first example, so that part
    of a batch gets the same masks as within the whole batch.
    """
    length = layers.config.seq_len if length is None else length
    check_positive_int("batch_size", batch_size)
    check_positive_int("length", length)
    if not layers.training:
        return Masks()
    fields = {}
    device = layers.weights(0)[0].device
    for name, rate, steps, widths in mask_plans(layers.config, layers.input_dim, length):
        masks = []
        for index, width in enumerate(widths):
            stream, start = key.fold_in(name).fold_in(index), first * steps * width
            mask = random.dropout_mask(stream, (batch_size, steps, width), rate, start, device)
            masks.append(mask.swapaxes(-3, -2).contiguous())
        fields[name] = tuple(masks)
    return Masks(**fields)
