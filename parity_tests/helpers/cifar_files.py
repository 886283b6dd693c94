"""Small CIFAR-10 files for tests of its reader: six files of records, and archives of them."""

import io
import tarfile

import numpy as np

from diptych.data.cifar10 import FOLDER, NAMES

COUNTS = {
    "data_batch_1.bin": 3,
    "data_batch_2.bin": 1,
    "data_batch_3.bin": 2,
    "data_batch_4.bin": 4,
    "data_batch_5.bin": 5,
    "test_batch.bin": 6,
}


def cifar_files():
    """Bytes of the six files by name, with random records."""
    rng = np.random.default_rng(3)
    files = {}
    for name, count in COUNTS.items():
        labels = rng.integers(0, 10, (count, 1), np.uint8)
        pixels = rng.integers(0, 256, (count, 3, 32, 32), np.uint8)
        files[name] = np.concatenate([labels, pixels.reshape(count, -1)], 1).tobytes()
    return files


def tar_gz(members, folder=FOLDER):
    """Return a .tar.gz of (name, bytes or TarInfo without content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(f"{folder}/{name}" if folder else name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def assert_holds(data, files):
    """Assert that the data have every byte of the files, in order."""
    for split, names in (("train", NAMES[:4]), ("valid", NAMES[4:5]), ("test", NAMES[5:])):
        part = getattr(data, split)
        pixels = np.rint(part.x * 255).astype(np.uint8)
        records = np.concatenate([part.y.astype(np.uint8)[:, None], pixels], 1).tobytes()
        assert records == b"".join(files[name] for name in names), split
        assert part.x.dtype == np.float32 and part.y.dtype == np.int64
