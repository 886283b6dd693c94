"""Files of unknown origin are read with bounded memory and time, and never block."""

import gzip
import io
import os
import socket
import tracemalloc
import zlib

import pytest

from diptych.data import bounded, load

MIB = 1 << 20


def refuses(call, *fragments):
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message, message


def peak_of(call):
    """Return the peak of memory in MiB that `call` allocates."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")  # a socket's path is short
        finally:
            os.close(folder)


NOT_FILES = {
    "a directory": lambda path: path.mkdir(),
    "a FIFO": make_fifo,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nowhere, which does not exist": lambda path: path.symlink_to("nowhere"),
    "No such file": lambda path: None,
}


@pytest.mark.parametrize("kind", NOT_FILES)
def test_only_regular_files_are_opened(tmp_path, kind):
    path = tmp_path / "data"
    NOT_FILES[kind](path)
    for call in (
        lambda: bounded.read_file(path, 10, "an image"),
        lambda: bounded.gunzip(path, 4, len),
        lambda: bounded.read_declared(path, 4, len, 10),
        lambda: bounded.read_head(path),
    ):
        refuses(call, str(path), kind, "expected a")


FILES = {
    "cifar10": ("cifar-10-binary.tar.gz", "data_batch_1.bin"),
    "omniglot": ("omniglot28_area.npz", "chardata.mat"),
    "caltech101_silhouettes": ("caltech101_silhouettes_28_split1.mat",),
}


@pytest.mark.parametrize("name", FILES)
def test_a_reader_never_waits_for_a_pipe_or_takes_a_folder_for_a_file(tmp_path, name):
    for file in FILES[name]:
        for kind, make in (("pipe", os.mkfifo), ("(folder|directory)", os.mkdir)):
            folder = tmp_path / file / kind
            folder.mkdir(parents=True)
            make(folder / file)
            with pytest.raises(ValueError, match=rf"{file}: found a .*{kind}.*expected a"):
                load(name, folder)


def test_a_pipe_in_place_of_the_data_folder_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.tar.gz")
    refuses(lambda: load("cifar10", tmp_path / "a.tar.gz"), "found a FIFO", "whole .tar.gz archive")


def test_a_file_above_the_limit_is_not_read(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"four")
    assert bounded.read_file(path, 4) == b"four"
    refuses(lambda: bounded.read_file(path, 3), str(path), "found 4 bytes", "at most 3 bytes")
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    assert peak_of(lambda: refuses(lambda: bounded.read_file(path, 100), "found 1099511627776")) < 4


def test_a_file_whose_size_is_not_known_is_read_to_the_limit():
    refuses(lambda: bounded.read_file(bounded.Path("/proc/self/status"), 20), "at most 20 bytes")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_the_header_decides_how_much_is_read(tmp_path, packed):
    """At most one byte more than the header declares is read, enough to see one too long."""
    content = bytes([200]) + bytes(range(250)) * 40
    path = tmp_path / "data"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert bounded.read_declared(path, 1, lambda head: head[0], 1000) == content[:201]
    assert bounded.read_declared(path, 1, lambda head: 10**5, 10**6) == content
    refuses(lambda: bounded.read_declared(path, 1, lambda head: 2000, 1000), "declares 2000 bytes")


@pytest.mark.parametrize("ending", [b"", bytes(7), bytes(70_000)], ids=["", "padding", "more"])
def test_members_of_a_gzip_file_follow_each_other(tmp_path, ending):
    content = os.urandom(300_000)
    parts = (content[:7], b"", content[7:200_000], content[200_000:])
    path = tmp_path / "data.gz"
    path.write_bytes(b"".join(map(gzip.compress, parts)) + ending)
    assert bounded.gunzip(path, 10, lambda head: len(content)) == content


def flip(data, index):
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


PACKED = gzip.compress(b"some text" * 99)
DAMAGED = {
    "cut": (PACKED[:-30], "ended early"),
    "cut in its checksum": (PACKED[:-1], "ended early"),
    "cut in its header": (PACKED[:5], "ended early"),
    "wrong checksum": (flip(PACKED, -6), "CRC or length differs"),
    "wrong length": (flip(PACKED, -1), "CRC or length differs"),
    "bad data": (PACKED[:10] + b"\xff" * 9, "damaged gzip data (invalid block type)"),
    "text": (b"<!DOCTYPE html>", "found 3c 21 44 4f at the start, not a gzip file"),
    "empty": (b"", "found an empty file"),
    "more after it": (PACKED + b"more", "found 6d 6f 72 65 after the gzip data"),
    "a name without end": (b"\x1f\x8b\x08\x08" + b"a" * 300_000, "ended early"),
    "empty members": (gzip.compress(b"") * 70_000, "more than 65536 gzip members"),
    "too long for its content": (PACKED + bytes(1_200_000), "bytes of gzip for 891 bytes"),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_gzip_data_are_named(tmp_path, fault):
    content, reason = DAMAGED[fault]
    path = tmp_path / "data.gz"
    path.write_bytes(content)
    refuses(
        lambda: bounded.gunzip(path, 4, lambda head: 891),
        str(path),
        reason,
        "expected a whole gzip file",
    )


def test_a_gzip_of_zeros_takes_no_more_memory_than_it_declares(tmp_path):
    """100 MB of zeros are 0.4 MB of gzip."""
    path = tmp_path / "zeros.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(100):
            file.write(bytes(MIB))
    assert peak_of(lambda: bounded.gunzip(path, 16, lambda head: 3 * MIB)) < 8

    def wrong(head):
        raise ValueError("wrong magic")

    assert peak_of(lambda: refuses(lambda: bounded.gunzip(path, 16, wrong), "wrong magic")) < 4


@pytest.mark.parametrize("wbits", [-15, 15, 31], ids=["deflate", "zlib", "gzip"])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_content_read_in_steps_is_whole(wbits, step):
    """zlib can have taken all packed bytes while it still holds back content."""
    for content in (bytes(30_000), b"abc" * 5_000, os.urandom(5_000)):
        packer = zlib.compressobj(wbits=wbits)
        file = io.BytesIO(packer.compress(content) + packer.flush())
        stream = bounded.Inflate(file, wbits, "a.bin", "a file")
        parts = iter(lambda stream=stream: stream.read(step), b"")
        assert b"".join(parts) == content
