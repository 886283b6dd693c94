"""Writers of small files of each image set, for tests of their readers."""

import io

import numpy as np
from helpers.data_files import SPLITS, idx, npz, write
from scipy.io import savemat


def grey(n, seed=9):
    """Return n images of bright strokes on a dark ground."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 28, 28), np.uint8)
    return np.where(images > 200, images, 0).astype(np.uint8)


def write_idx(root, images, labels, test_images=None, test_labels=None):
    test_images = grey(4, 10) if test_images is None else test_images
    test_labels = np.arange(len(test_images)) % 10 if test_labels is None else test_labels
    arrays = {"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels}
    arrays |= {"t10k-images-idx3-ubyte": test_images, "t10k-labels-idx1-ubyte": test_labels}
    write(root, {name: idx(np.asarray(array, np.uint8)) for name, array in arrays.items()})


def write_binarized(root, bits):
    """Write the arrays `bits` of train, valid and test as packed static MNIST."""
    packed = {k: np.packbits(rows, axis=1) for k, rows in bits.items()}
    write(root, {"binarized_mnist_larochelle_packed.npz": npz(packed)})


def write_text(root, rows, end="\n"):
    """Write three .amat files, `rows` of them the training file."""
    for split, values in (("train", rows), ("valid", strokes(3, 1)), ("test", strokes(3, 2))):
        text = "".join(" ".join(map(str, row)) + end for row in values)
        write(root, {f"binarized_mnist_{split}.amat": text.encode()})


def strokes(n, seed=0):
    return (np.random.default_rng(seed).random((n, 784)) < 0.2).astype(np.uint8)


def three_splits():
    return {split: strokes(3, seed) for seed, split in enumerate(SPLITS)}


def write_omniglot(root, background, evaluation):
    write(root, {"omniglot28_area.npz": npz({"background": background, "evaluation": evaluation})})


def write_silhouettes(root, background):
    """Write three splits of Caltech silhouettes whose pixels are 1 where `background` is."""
    arrays = {}
    for i, part in enumerate(("train", "val", "test")):
        arrays[f"{part}_data"] = np.roll(background, i, axis=1)
        arrays[f"{part}_labels"] = np.ones((len(background), 1), np.uint8)
    file = io.BytesIO()
    savemat(file, arrays)
    write(root, {"caltech101_silhouettes_28_split1.mat": file.getvalue()})


def write_cifar(root, pixels):
    """Write the six files of CIFAR-10, `pixels` (N, 3072) in each of them."""
    records = np.concatenate([np.zeros((len(pixels), 1), np.uint8), pixels], 1).tobytes()
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    write(root, dict.fromkeys(names, records))
