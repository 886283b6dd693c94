"""Fashion-MNIST: grey 28x28 pictures of ten kinds of clothes, in the format of MNIST.

Files: the four IDX files of MNIST's names (30 MB as .gz), in ROOT/fashion_mnist,
ROOT/FashionMNIST/raw (torchvision), ROOT/FashionMNIST, ROOT/fashion-mnist (Keras), ROOT/fashion,
ROOT/data/fashion, ROOT or ROOT/raw.
Layout, size, checks: see `mnist_family`.
Origin: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms" (2017), which has no validation split; we take one as for MNIST.
"""

from __future__ import annotations

from diptych.data import mnist_family
from diptych.data.dataset import Dataset, Root
from diptych.data.published import FASHION


def load(root: Root = None) -> Dataset:
    """Load the 70000 grey pictures with labels.

    Shapes: x (N, 784), y (N,) in 0 .. 9, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the offset, what was found and what was expected.
    """
    return mnist_family.load(FASHION, root)
