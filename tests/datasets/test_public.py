"""Public data sets are known by their content, whatever the container."""

import gzip
import io
import shutil

import numpy as np
import pytest

from avi.datasets.base import content_sha256
from avi.datasets.binarized_mnist import BinarizedMnist
from avi.datasets.frey_face import FreyFace
from avi.datasets.mnist import Mnist
from avi.errors import DataError

MNIST_FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
FREY = FreyFace("none", 0, 200, 200)


def test_mnist_is_split_in_the_order_of_its_files(public):
    public("mnist/train-images-idx3-ubyte.gz")
    splits = Mnist("none", 0).load()
    assert [len(split) for split in splits[:3]] == [55_000, 5_000, 10_000]
    # The published SHA-256 of the files covers their headers of 16 bytes as well.
    header = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (60_000, 28, 28))
    images = header + splits.train.tobytes() + splits.valid.tobytes()
    digest = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    assert content_sha256(np.frombuffer(images, np.uint8)) == digest
    assert np.bincount(splits.labels["test"]).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_mnist_unpacked_or_packed_anew_is_the_same_data(public, tmp_path, monkeypatch):
    expected = None
    for number, name in enumerate(MNIST_FILES):
        raw = gzip.decompress(public(f"mnist/{name}.gz").read_bytes())
        if number % 2:
            (tmp_path / name).write_bytes(raw)
        else:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(raw, 1))
    expected = Mnist("none", 0).load()
    monkeypatch.setenv("AVI_DATA_DIR", str(tmp_path))
    found = Mnist("none", 0).load()
    np.testing.assert_array_equal(found.train, expected.train)
    np.testing.assert_array_equal(found.labels["test"], expected.labels["test"])


def test_one_changed_pixel_of_mnist_is_refused_by_name(public, tmp_path, monkeypatch):
    for name in MNIST_FILES:
        shutil.copy(public(f"mnist/{name}.gz"), tmp_path / f"{name}.gz")
    raw = bytearray(gzip.decompress((tmp_path / f"{MNIST_FILES[2]}.gz").read_bytes()))
    raw[5000] ^= 1
    (tmp_path / f"{MNIST_FILES[2]}.gz").unlink()
    (tmp_path / MNIST_FILES[2]).write_bytes(raw)
    monkeypatch.setenv("AVI_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte is not .* expected 0fa7898d"):
        Mnist("none", 0).load()


def test_binarized_mnist_is_the_published_draw_in_a_shuffled_order(public):
    packed = np.load(public("binarized_mnist/binarized_mnist_packed.npz"), allow_pickle=False)
    splits = BinarizedMnist(0).load()
    for name in ("train", "valid", "test"):
        rows = getattr(splits, name)
        assert rows.dtype == np.uint8
        assert rows.max() == 1
        original = np.unpackbits(packed[name], axis=1)
        assert sorted(map(bytes, np.packbits(rows, axis=1))) == sorted(map(bytes, packed[name]))
        assert not (rows == original).all()
        # The file's test rows are sorted by class; any first thousand of ours are a fair sample.
        first, all_rows = rows[:1000].sum(1, dtype=float), original.sum(1, dtype=float)
        assert abs(first.mean() - all_rows.mean()) < 5.2 * all_rows.std() / np.sqrt(1000)
    assert (BinarizedMnist(1).load().test != splits.test).any()


def test_binarized_mnist_as_text_gives_the_same_rows(public, tmp_path, monkeypatch):
    packed = np.load(public("binarized_mnist/binarized_mnist_packed.npz"), allow_pickle=False)
    expected = BinarizedMnist(0).load()
    for name in ("train", "valid", "test"):
        bits = np.unpackbits(packed[name], axis=1)[::-1]  # any order of rows
        text = np.full((len(bits), 2 * 784), ord(" "), np.uint8)
        text[:, ::2] = bits + ord("0")
        text[:, -1] = ord("\n")
        (tmp_path / f"binarized_mnist_{name}.amat").write_bytes(text.tobytes())
    monkeypatch.setenv("AVI_DATA_DIR", str(tmp_path))
    found = BinarizedMnist(0).load()
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_another_binarisation_is_refused(public, tmp_path, monkeypatch):
    packed = dict(np.load(public("binarized_mnist/binarized_mnist_packed.npz"), allow_pickle=False))
    packed["test"][0, 40] ^= 1
    np.savez_compressed(tmp_path / "binarized_mnist_packed.npz", **packed)
    monkeypatch.setenv("AVI_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="not those of the published test set"):
        BinarizedMnist(0).load()


def test_frey_faces_are_split_in_blocks_of_the_film(public):
    frames = np.load(public("frey_face/frey_rawface.npy"), allow_pickle=False)
    splits = FREY.load()
    assert [len(split) for split in splits[:3]] == [1565, 200, 200]
    np.testing.assert_array_equal(np.concatenate(splits[:3]), frames)
    assert content_sha256(frames).startswith("2438ba4f0d2a6bd8")
    np.testing.assert_allclose(FREY.view(splits.test[3], 0, 0), frames[1768] / 255, rtol=1e-7)


@pytest.mark.parametrize("container", ["mat", "mat compressed", "npz"])
def test_frey_faces_are_read_from_every_container(public, tmp_path, monkeypatch, container):
    from scipy.io import savemat

    frames = np.load(public("frey_face/frey_rawface.npy"), allow_pickle=False)
    expected = FREY.load()
    if container == "npz":
        np.savez(tmp_path / "frey_rawface.npz", frames)
    else:
        content = io.BytesIO()
        savemat(content, {"other": [1.0], "ff": frames.T}, do_compression="comp" in container)
        (tmp_path / "frey_rawface.mat").write_bytes(content.getvalue())
    monkeypatch.setenv("AVI_DATA_DIR", str(tmp_path))
    np.testing.assert_array_equal(FREY.load().train, expected.train)
