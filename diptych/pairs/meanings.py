"""The meaning of each variant's name, in a few words, for the pages of the site."""

from __future__ import annotations

_SQUARE = "all sizes are equal: a transposed matrix still fits, and only its values can show it"
_SCHEMES = {
    "per_step": "dropout masks between the layers, new ones at each step, rate 0.3",
    "variational": "dropout masks between the layers, the same ones at all steps, rate 0.3",
    "variational_recurrent": "dropout masks between the layers and on the state, the same ones at "
    "all steps, rate 0.3",
    "recurrent": "dropout masks on the state, new ones at each step, rate 0.3",
}
_LOOP = "the right panel loops over the steps, never through torch's fused kernel"
_RECURRENT = {
    "": "two layers without dropout",
    **_SCHEMES,
    **{f"{name},loop": f"{text}; {_LOOP}" for name, text in _SCHEMES.items()},
    "square": _SQUARE,
    "two windows": "the loss of two consecutive windows, the second of which starts from the final "
    "state of the first",
}

MEANINGS: dict[str, dict[str, str]] = {
    "mlp_vae": {
        "": "small sizes: 16 pixels, 32 units, 2 latents",
        "sampled": "the KL term at the sampled z (estimator A) instead of in closed form",
        "samples=3": "three draws of z for each example",
        "sampled,samples=3": "the KL term at three sampled z for each example",
        "sigma": "the encoder gives sigma, of either sign, instead of log sigma^2",
        "sigma,sampled": "the encoder gives sigma; the KL term at three sampled z",
        "sigma,clamped": "the encoder gives sigma; probabilities in place of logits",
        "gaussian": "a Gaussian likelihood of standard deviation 0.7",
        "gaussian_learned": "a Gaussian likelihood with a learned variance, no less than 1/e",
        "continuous_bernoulli": "the continuous Bernoulli as likelihood of grey values",
        "beta": "a beta distribution as likelihood of grey values",
        "truncated_gaussian": "a Gaussian truncated to [0, 1] as likelihood",
        "deterministic": "a plain autoencoder: z is the mean, and there is no KL term",
        "beta=4,sum": "the KL term has weight 4, and the loss is summed over the batch",
        "tanh": "tanh in the hidden layers instead of relu",
        "square": _SQUARE,
        "784-400-20": "the sizes for MNIST: 784 pixels, 400 units, 20 latents",
    },
    "conv_vae": {
        "": "a squared error; 2 x 16 x 16 images, 3 channels, 5 latents",
        "bce,sum": "binary cross-entropy, summed over the batch",
        "gaussian": "a Gaussian likelihood of standard deviation 0.7",
        "gaussian_learned": "a Gaussian likelihood with a learned variance, no less than 1/e; 9 "
        "rows and a black margin",
        "tanh": "tanh at the output, for images in [-1, 1]; the loss is summed over the batch",
        "none,grey": "no activation at the output; images of one channel",
        "margin": "images of 9 x 12 pixels in a black margin, which is not part of the likelihood",
        "mixture": "the 256 levels of colour pixels as a mixture of four logistics; 9 rows and "
        "a black margin",
        "mixture,grey": "the 256 levels of grey pixels as a mixture of two logistics",
        "32": "images of 32 x 32 pixels",
        "square": _SQUARE,
    },
    "vlae": {
        "": "5 x 7 images; a flow as prior of z; the decoder reads a raster of pixels",
        "gaussian,latent": "a Gaussian prior of z, with free bits for each dimension",
        "iaf_posterior,affine": "the flow is in the posterior, and scales as well as shifts",
        "unconditional": "no latent z: the decoder is a PixelCNN alone",
        "unconditional,positions": "no latent z, but learned maps that tell a pixel's position",
        "factorised,soft": "the decoder reads no pixel but z alone; soft free bits",
        "local,none": "the decoder reads a window of 4 columns and one row above; no free bits",
        "stacks": "the decoder reads by a vertical and a horizontal stack, without a blind spot",
        "gated": "the decoder reads a window of 4 x 2 by gated residual blocks in two stacks",
        "levels": "grey images of 256 levels, a mixture of logistics as likelihood",
        "colour": "colour images; a flow over maps as prior; gated blocks in a window of 4 x 2",
        "colour,grey": "the decoder reads the luma of the pixels before, in 5 x 2",
        "colour,raster": "a posterior with a flow over maps; gated blocks over all pixels before",
        "colour,local": "Gaussian maps as latent; one masked layer of 4 columns and one row above",
        "colour,factorised": "the decoder of a colour image reads z alone; soft free bits",
        "square": _SQUARE,
        "8x8": "images of 8 x 8 pixels",
        "28x28": "images of 28 x 28 pixels, with small layers",
    },
    "rnn": _RECURRENT | {"squared_error": "numbers as outputs, with a squared error"},
    "lstm": _RECURRENT
    | {
        "tied": "three layers; the softmax shares the weight of the embedding; forget bias 1",
        "words": "variational_recurrent dropout that also drops whole words",
    },
}


def meaning(name: str) -> str:
    """The meaning of "pair" or "pair[variant]"; "" for a name of neither."""
    base, _, variant = name.partition("[")
    return MEANINGS.get(base, {}).get(variant.removesuffix("]"), "")
