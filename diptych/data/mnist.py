"""MNIST: grey 28x28 handwritten digits, from the four original IDX files.

Files: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
`t10k-labels-idx1-ubyte`, also spelt `images.idx3`, each plain or `.gz` (11 MB), in ROOT/mnist,
ROOT/MNIST/raw (torchvision), ROOT/MNIST, ROOT or ROOT/raw; or else `mnist.npz` (Keras) in ROOT.
Layout, size, checks: see `mnist_family`.
Origin: LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition"
(1998), which has no validation split; its last 10000 training images are the usual choice.
"""

from __future__ import annotations

from dataclasses import replace

from diptych.data import mnist_family
from diptych.data.dataset import Dataset, Root
from diptych.data.published import MNIST


def load(root: Root = None) -> Dataset:
    """Load the 70000 grey digits with labels.

    Shapes: x (N, 784), y (N,) in 0 .. 9, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the offset, what was found and what was expected.
    """
    return mnist_family.load(MNIST, root)


def load_dynamic(root: Root = None) -> Dataset:
    """Load dynamically binarized MNIST: each pixel is Bernoulli(x), x the grey value.

    The pixels are drawn each time an image is used; see `Dataset.dynamic`.
    Source: Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders" (2016). Salakhutdinov
    & Murray, "On the quantitative analysis of deep belief networks" (2008), drew the pixels once:
    that is static_mnist.
    """
    grey = load(root)
    summary = f"dynamic_{grey.summary}, pixels drawn as 0 or 1 at each use"
    return replace(grey, name="dynamic_mnist", summary=summary, dynamic=True)
