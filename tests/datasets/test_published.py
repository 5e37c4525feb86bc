"""Data sets that others publish, from small files of the same form; and two that are embedded."""

import gzip
import hashlib
import io
import tarfile

import jax
import numpy as np
import pytest
from scipy.io import savemat

from avi.config.build import load_experiment
from avi.config.compose import compose
from avi.contracts.dataset import claims
from avi.datasets import (
    caltech101_silhouettes,
    cifar10,
    fashion_mnist,
    fetch,
    mnist,
    omniglot,
    twenty_newsgroups,
)
from avi.datasets.embedded import CORPS, EightSchools, HorseKicks
from avi.errors import DataError

RANDOM = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder that is AVI_DATA_DIR."""
    path = tmp_path / "data"
    path.mkdir()
    monkeypatch.setenv("AVI_DATA_DIR", str(path))
    return path


def dataset(name, *words):
    (job,) = compose([f"dataset={name}", *words])
    return load_experiment(job.tree).dataset


def tar_of(members):
    """Return the bytes of a .tar.gz."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def drawn(shape):
    """Return what a person sees of an image stored down its columns."""
    return lambda rows: rows.reshape(-1, *shape).transpose(0, 2, 1).reshape(len(rows), -1)


ACROSS = drawn((28, 28))


def test_fashion_mnist_is_split_like_mnist_and_known_by_its_hash(folder, monkeypatch):
    monkeypatch.setattr(mnist, "SIZES", (5, 2, 3))
    images = RANDOM.integers(0, 256, (10, 28, 28), np.uint8)
    labels = RANDOM.integers(0, 10, 10, np.uint8)
    for part, own in {"train": slice(7), "t10k": slice(7, 10)}.items():
        for kind, values in {"images": images[own], "labels": labels[own]}.items():
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            packed = gzip.compress(header + values.tobytes())
            name = f"{part}-{kind}"
            (folder / f"{mnist.idx_name(name)}.gz").write_bytes(packed)
            monkeypatch.setitem(fashion_mnist.MD5, name, hashlib.md5(packed).hexdigest())
    found = dataset("fashion_mnist", "dataset.binarize=none", "likelihood=gaussian").load()
    np.testing.assert_array_equal(np.concatenate(found[:3]), images.reshape(10, -1))
    np.testing.assert_array_equal(np.concatenate(list(found.labels.values())), labels)
    monkeypatch.setitem(fashion_mnist.MD5, "t10k-images", "0" * 32)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte.gz is not .* expected 00000"):
        dataset("fashion_mnist").load()


def test_omniglot_stands_upright_and_keeps_its_test_rows(folder, monkeypatch):
    monkeypatch.setattr(omniglot, "NUM_TRAIN", 9)
    monkeypatch.setattr(omniglot, "NUM_TEST", 4)
    grey = RANDOM.random((13, 784))
    parts = {"data": grey[:9].T, "testdata": grey[9:].T, "target": np.eye(9)}
    savemat(folder / "chardata.mat", parts, do_compression=True)
    own = dataset("omniglot", "dataset.num_valid=2", "dataset.binarize=none", "likelihood=gaussian")
    found = own.load()
    assert [len(part) for part in found[:3]] == [7, 2, 4]
    rows = ACROSS(grey.astype(np.float32))
    np.testing.assert_array_equal(np.concatenate(found[:3]), rows[found.origin.rows])
    np.testing.assert_array_equal(found.test, rows[9:])
    assert all(claim.holds for claim in claims(dataset("omniglot", "dataset.num_valid=2")))
    savemat(folder / "chardata.mat", parts | {"data": 2 * grey[:9].T})
    with pytest.raises(DataError, match="chardata.mat is not .* not grey values from 0 to 1"):
        own.load()
    savemat(folder / "chardata.mat", parts | {"data": grey.T})
    with pytest.raises(DataError, match="its array data is 784 x 13, not 784 x 9"):
        own.load()


def test_silhouettes_are_bits_in_the_split_of_their_file(folder, monkeypatch):
    monkeypatch.setattr(caltech101_silhouettes, "NUM_ROWS", {"train": 5, "val": 3, "test": 2})
    bits = RANDOM.integers(0, 2, (10, 784), np.uint8)
    kinds = RANDOM.integers(1, 102, (10, 1)).astype(float)
    parts = {}
    for name, own in {"train": slice(5), "val": slice(5, 8), "test": slice(8, 10)}.items():
        parts |= {f"{name}_data": bits[own], f"{name}_labels": kinds[own]}
    path = folder / "caltech101_silhouettes_28_split1.mat"
    savemat(path, parts)
    own = dataset("caltech101_silhouettes")
    found = own.load()
    np.testing.assert_array_equal(np.concatenate(found[:3]), ACROSS(bits))
    np.testing.assert_array_equal(np.concatenate(list(found.labels.values())), kinds.ravel())
    assert all(claim.holds for claim in claims(own))
    savemat(path, parts | {"val_data": 2 * bits[5:8]})
    with pytest.raises(DataError, match="its array val_data holds more than 0 and 1"):
        own.load()
    del parts["test_labels"]
    savemat(path, parts)
    with pytest.raises(DataError, match="it holds no array test_labels"):
        own.load()


def test_cifar10_has_the_colours_of_a_pixel_side_by_side(folder, monkeypatch):
    monkeypatch.setattr(cifar10, "PER_FILE", 4)
    monkeypatch.setattr(cifar10, "NUM_VALID", 3)
    pixels = RANDOM.integers(0, 256, (24, 32, 32, 3), np.uint8)
    kinds = RANDOM.integers(0, 10, 24, np.uint8)
    planes = pixels.transpose(0, 3, 1, 2).reshape(24, -1)
    records = np.column_stack([kinds, planes])
    members = {
        name: records[4 * number : 4 * number + 4].tobytes()
        for number, name in enumerate(cifar10.MEMBERS)
    }
    content = tar_of({"cifar-10-batches-bin/readme.html": b"read me", **members})
    monkeypatch.setattr(cifar10, "MD5", hashlib.md5(content).hexdigest())
    path = folder / "cifar-10-binary.tar.gz"
    path.write_bytes(content)
    own = dataset("cifar10")
    found = own.load()
    assert [len(part) for part in found[:3]] == [17, 3, 4]
    np.testing.assert_array_equal(np.concatenate(found[:3]).reshape(pixels.shape), pixels)
    np.testing.assert_array_equal(np.concatenate(list(found.labels.values())), kinds)
    assert all(claim.holds for claim in claims(own))
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match="cifar-10-binary.tar.gz is not .* its content has MD5"):
        own.load()


def test_cifar10_in_pickles_is_never_opened(folder):
    (folder / "cifar-10-python.tar.gz").write_bytes(b"whatever it holds")
    with pytest.raises(DataError, match=r"never opened\. Put the binary version, https://"):
        dataset("cifar10").load()


def test_newsgroups_lose_their_headers_and_keep_the_order_of_time(folder, monkeypatch):
    monkeypatch.setattr(twenty_newsgroups, "NUM_MESSAGES", (6, 3))
    texts = ["apples pears", "pears plums", "apples plums", "plums plums", "", "pears apples"]
    later = ["apples", "plums novelty", "pears"]
    members = {}
    for name, of_folder in zip(twenty_newsgroups.FOLDERS, (texts, later), strict=True):
        for number, text in enumerate(of_folder):
            group = "rec.fruit" if number % 2 else "sci.fruit"
            message = f"From: someone\nSubject: secret\n\n{text}\n\nbye\xe9\n"
            members[f"{name}/{group}/{number}"] = message.encode("latin1")
    content = tar_of(members)
    monkeypatch.setattr(twenty_newsgroups, "SHA256", hashlib.sha256(content).hexdigest())
    (folder / "20news-bydate.tar.gz").write_bytes(content)
    own = dataset(
        "twenty_newsgroups",
        "model=lda",
        "dataset.num_valid=1",
        "dataset.vectorizer.min_documents=1",
        "dataset.vectorizer.max_share=0.9",
    )
    found = own.load()
    assert found.vocabulary == ("apples", "novelty", "pears", "plums")
    assert [len(part.ids) for part in found[:3]] == [4, 1, 3]
    assert found.remarks == ("1 message of 9 has no term of the vocabulary and is left out.",)
    assert found.unseen["test"] == (1, 4)
    names = [found.origin.documents[row] for row in found.origin.rows[5:]]
    assert names == ["rec.fruit/1", "sci.fruit/0", "sci.fruit/2"]
    assert found.labels["test"].tolist() == ["rec.fruit", "sci.fruit", "sci.fruit"]
    assert all(claim.holds for claim in claims(own))


def test_a_download_is_later_what_it_was_first(tmp_path, monkeypatch):
    sent = [b"first"]
    monkeypatch.setattr(fetch, "_receive", lambda url, path, limit: path.write_bytes(sent[-1]))
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    file = fetch.PublicFile("set", ("file",), ("https://example.org/file",), 100, known=False)
    assert fetch.obtain(file, bytes) == b"first"
    path = tmp_path / "cache" / "set" / "file"
    path.write_bytes(b"spoiled")
    assert fetch.obtain(file, bytes) == b"first"  # again from where it was
    path.write_bytes(b"spoiled")
    sent.append(b"changed")
    with pytest.raises(fetch.ResourceError, match="its content has SHA-256 .*; expected"):
        fetch.obtain(file, bytes)


def test_eight_schools_are_one_observation():
    found = EightSchools().load()
    assert [len(part) for part in found[:3]] == [1, 0, 0]
    seen = EightSchools().view(found.train[0], 0, 0)
    assert seen["value"].tolist() == [28, 8, -3, 7, -1, 1, 18, 12]
    assert seen["scale"].tolist() == [15, 10, 16, 11, 9, 11, 10, 18]
    assert all(claim.holds for claim in claims(EightSchools()))


def test_horse_kicks_have_the_sums_of_the_book():
    own = HorseKicks(2, 4, 0)
    found = own.load()
    rows = np.concatenate(found[:3])[np.argsort(found.origin.rows)]
    assert np.bincount(rows.ravel()).tolist() == [144, 91, 32, 11, 2]
    assert rows.sum(axis=1).tolist() == [
        3, 5, 7, 9, 10, 18, 6, 14, 11, 9, 5, 11, 15, 6, 11, 17, 12, 15, 8, 4,
    ]  # fmt: skip
    assert rows.sum(axis=0).tolist() == [16, 16, 12, 12, 8, 11, 17, 12, 7, 13, 15, 25, 24, 8]
    # The ten corps of one size, which everyone knows as Poisson.
    alike = [place for place, name in enumerate(CORPS) if name not in ("G", "I", "VI", "XI")]
    assert np.bincount(rows[:, alike].ravel()).tolist() == [109, 65, 22, 3, 1]
    assert all(claim.holds for claim in claims(own))
    jax.tree.map(np.testing.assert_array_equal, found[:3], own.load()[:3])
