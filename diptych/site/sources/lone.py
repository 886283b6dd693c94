"""Files and statements of one panel that no rule explains, and why the other panel has none.

An entry that no page uses is an error of the tests.
"""

from __future__ import annotations

from diptych.site.sources.page import SideName

FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "nn/correlation": (
        "torch supplies this: its convolutions need no Python for their arithmetic",
        ("torch.nn.functional.conv2d", "torch.nn.functional.conv_transpose2d"),
    ),
    "nn/normalisation": (
        "only the right panel runs in several processes; on the left batch_norm of "
        "numpy_ref/nn/layers.py computes these statistics over the whole batch",
        (),
    ),
    "nn/optim": (
        "torch supplies this: torch.optim has the optimisers, torch.nn.utils the clipping",
        ("torch.optim.Adam", "torch.nn.utils.clip_grad_norm_"),
    ),
    "nn/verdicts": (
        "only the right panel computes on a device that the host would wait for; the left panel's "
        "checks read each number at once",
        (),
    ),
    "recurrent/fused": (
        "only torch has fused kernels; on the left Recurrent.layer of "
        "numpy_ref/recurrent/network.py is the loop over time",
        (),
    ),
}
"""By file of one panel: what stands for it on the other, and the names of torch that do."""

Lines = dict[str, str]
AUTOCAST = "under autocast the network computes in half precision, its densities in this dtype"
BLOCKS = "in blocks that stay in the cache; the right makes all numbers at once"
CHECKED = "the left panel's Conv2d checks this itself"
COPIED = "the left copies the arrays itself; torch's load_state_dict does it on the right"
CROSS_ENTROPY = "F.cross_entropy does this: in blocks, so that one (T B, O) array is kept"
EXTREMES = "torch.aminmax computes both in one pass; NumPy takes two"
KEYS = "only the right panel draws the streams of several keys at once"
MEMORY_ORDER = "NumPy is slow where two orders of memory meet; torch takes care of them itself"
TAPS = "the right makes these indices once, so that no device is waited for in a sample"
ORDER = "the right keeps the order on its device, so that a sample copies nothing to it"
STEPS = "the left writes every h into one array, the right collects the steps in a list"

LONE: dict[str, dict[SideName, dict[str, Lines]]] = {
    "mlp_vae": {
        "right": {
            "LogvarPosterior.forward": {"dtype = self.mu.weight.dtype": AUTOCAST},
            "SigmaPosterior.forward": {"dtype = self.mu.weight.dtype": AUTOCAST},
        }
    },
    "score_function": {
        "right": {
            "score_function_loss": {
                "surrogate = weight * (advantage(cost, baseline) * score).mean(1).sum()": (
                    "its gradient is what the left computes by score_vjp; its value is subtracted"
                ),
            }
        }
    },
    "lstm": {
        "right": {
            "LSTM.features": {
                "x = checks.safe_tokens(x, self.config.vocab_size)": (
                    "on CUDA an index out of range would stop the process before the error is read"
                ),
            }
        }
    },
    "nn/checks": {
        "left": {"extremes": {"return (value.min(), value.max())": EXTREMES}},
        "right": {
            "extremes": {"return torch.aminmax(value.detach())": EXTREMES},
            "check_array": {"dtype = dtype or model.dtype": "the left takes the dtype itself"},
            "check_images": {
                "dtype = value.dtype if casts else None": "only the right panel runs under autocast"
            },
        },
    },
    "nn/convolution": {
        "left": {
            "ConvTranspose2d": {"transposed = True": "torch supplies this: nn.ConvTranspose2d"}
        }
    },
    "nn/layers": {
        "left": {"AXES": {"AXES = (0, 2, 3)": "torch supplies this: F.batch_norm; a part of it"}},
    },
    "nn/module": {
        "left": {
            "Array": {
                "Array = np.ndarray": "the right has torch's Tensor",
                "Vjp = Callable[..., Any]": "autograd does this on the right",
            },
            "Module": {"training = True": "torch supplies this: nn.Module.training"},
            "Module.load_state_dict": {
                "for name, array in own.items():": COPIED,
                "own = self._state()": COPIED,
            },
        },
        "right": {
            "Module.load_state_dict": {
                "if strict:": "an argument of torch's load_state_dict",
                "return super().load_state_dict(tensors, strict, assign)": COPIED,
            },
        },
    },
    "nn/averaging": {
        "right": {
            "PolyakAverage.__init__": {
                "self._move: Any = get_ema_multi_avg_fn(decay)": (
                    "torch's rule for the averages; `update` writes it out on the left"
                )
            }
        },
    },
    "nn/random": {
        "left": {
            "_LOW": {"BLOCK = 8192": BLOCKS},
            "bits": {
                "words = np.empty((last - first, 4), np.uint32)": BLOCKS,
                "for begin in range(first, last, BLOCK):": BLOCKS,
                "k0, k1, c2, c3 = key.words": KEYS,
            },
        },
        "right": {
            "_LOW": {
                "Device = torch.device | str | None": "only the right panel has devices",
            },
            "bits": {"(k0, k1), upper = _words(key, block)": KEYS},
            "bernoulli": {
                "shape = tuple(probs.shape) if isinstance(key, Key) else tuple(probs.shape[1:])": (
                    KEYS
                )
            },
        },
    },
    "probability/discretized_logistics": {
        "left": {
            "conditional_means": {
                "mu = np.array(means)": MEMORY_ORDER,
                "mu[:, 2] += tanh[:, 2] * green": MEMORY_ORDER,
                "return (mu, vjp)": MEMORY_ORDER,
            },
            "discretized_logistic_mixture_nll": {
                "pixels = np.empty_like(params[:, :channels])[:, :, None]": MEMORY_ORDER,
            },
            "discretized_logistic_mixture_sample": {
                "with np.errstate(over='ignore'):": "torch has no warning to turn off",
            },
        },
        "right": {
            "conditional_means": {
                "return torch.stack((means[:, 0], mu_green, mu_blue), 1)": MEMORY_ORDER,
            },
        },
    },
    "nn/weight_norm": {
        "right": {
            "Pair": {"Pair = tuple[int, int]": "numpy_ref/nn/correlation.py has this on the left"}
        },
    },
    "autoregressive/pixel_steps": {
        "left": {
            "PixelCache.__init__": {
                "mask = layer.mask[0]": TAPS,
                "self._rows, self._columns = np.nonzero(mask)": TAPS,
            }
        },
        "right": {"PixelCache.__init__": {"self._rows, self._columns = layer.taps": TAPS}},
    },
    "recurrent/network": {
        "left": {
            "Recurrent.layer": {
                "W = np.ascontiguousarray(weight_hh.data.T)": (
                    "a copy in the order in which NumPy reads it fastest; torch needs none"
                ),
                "h, vjps = (np.empty((T + 1, *h0.shape), a.dtype), [])": STEPS,
                "h[0] = h0": STEPS,
            },
            "SoftmaxOutput.forward": {
                "error, ones = (np.empty(len(logits), logits.dtype), "
                "np.ones(len(logits), logits.dtype))": CROSS_ENTROPY,
                "for rows in functional.row_blocks(logits, 40000):": CROSS_ENTROPY,
                "block = np.add(logits[rows], self.bias.data, out=logits[rows])": (
                    "F.linear adds the bias on the right"
                ),
                "error_vjp(ones[rows], out=block)": "for the vjp: autograd does this on the right",
            },
        },
        "right": {
            "Recurrent.layer": {"hs = []": STEPS, "hs.append(h)": STEPS},
        },
    },
    "autoregressive/pixel_cnn": {
        "right": {
            "MaskedConv2d.__init__": {"check_positive_int('out_channels', out_channels)": CHECKED},
            "MaskedConv2d.forward": {
                "checks.check_images('x', x, self.in_channels, self.weight)": (
                    "conv2d of the left panel checks this itself"
                ),
            },
            "WNMaskedConv2d.__init__": {
                "taps = torch.tensor(masks[0]).nonzero().T.to(self.weight_v.device)": TAPS,
                "self.register_buffer('taps', taps, persistent=False)": TAPS,
            },
        },
    },
    "autoregressive/made": {
        "left": {
            "MADE.invert": {"order = np.array(self._order)": ORDER},
        },
        "right": {
            "MADE.__init__": {
                "self.register_buffer('order', torch.tensor(order, device=device), "
                "persistent=False)": ORDER
            },
            "MADE.invert": {"order = self.order": ORDER},
        },
    },
    "autoregressive/map_flow": {
        "left": {
            "MapMADE.invert": {"order = np.array(self._order.of_channels)": ORDER},
        },
        "right": {
            "MapMADE.__init__": {
                "of_channels = torch.tensor(order.of_channels, device=device)": ORDER,
                "self.register_buffer('order', of_channels, persistent=False)": ORDER,
            },
            "MapMADE.invert": {"order = self.order": ORDER},
        },
    },
    "autoregressive/stacked_pixel_cnn": {
        "right": {
            "StackedConv2d.__init__": {
                "check_positive_int('in_channels', in_channels)": CHECKED,
                "check_positive_int('out_channels', out_channels)": CHECKED,
            },
        },
    },
}
"""By file, side, definition and the statement's first line, as `ast.unparse` writes it."""


def lone(stem: str, side: SideName, definition: str, line: str) -> str:
    """The remark of the table for a statement, "" if it has none."""
    return LONE.get(stem, {}).get(side, {}).get(definition, {}).get(line, "")
