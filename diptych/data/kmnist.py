"""KMNIST (Kuzushiji-MNIST): grey 28x28 images of ten cursive hiragana, in the format of MNIST.

Files: the four IDX files of MNIST's names (21 MB as .gz), in ROOT/kmnist, ROOT/KMNIST/raw
(torchvision), ROOT/KMNIST, ROOT or ROOT/raw; or else `kmnist-train-imgs.npz`,
`kmnist-train-labels.npz`, `kmnist-test-imgs.npz` and `kmnist-test-labels.npz`, there as well.
Layout, size, checks: see `mnist_family`.
Origin: Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto & Ha, "Deep learning for classical Japanese
literature" (2018), which has no validation split; we take one as for MNIST.
"""

from __future__ import annotations

from diptych.data import mnist_family
from diptych.data.dataset import Dataset, Root
from diptych.data.published import KUZUSHIJI


def load(root: Root = None) -> Dataset:
    """Load the 70000 grey characters with labels.

    Shapes: x (N, 784), y (N,) in 0 .. 9, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the offset, what was found and what was expected.
    """
    return mnist_family.load(KUZUSHIJI, root)
