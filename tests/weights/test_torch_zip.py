"""PyTorch's files are read as tensors, and nothing in them is executed."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from weights.torch_file import archive, dictionary, saved, tensor, text, whole

from avi.errors import DataError, Refusal
from avi.weights.tensors import read_tensors

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)
REAL = Path(__file__).parents[1] / "data" / "weights"


def read(content, tmp_path):
    path = tmp_path / "vae.pt"
    path.write_bytes(content)
    return read_tensors(path).arrays


def test_a_state_dict_is_read_by_its_names(tmp_path):
    found = read(saved({"fc1.weight": ROWS, "fc1.bias": ROWS[0]}, "model", "inner"), tmp_path)
    assert set(found) == {"model.inner.fc1.weight", "model.inner.fc1.bias"}
    np.testing.assert_array_equal(found["model.inner.fc1.weight"], ROWS)


def test_a_view_shows_its_part_of_the_storage(tmp_path):
    turned = tensor("0", ROWS, offset=1, shape=(3, 2), strides=(4, 1))
    tied = tensor("0", ROWS, shape=(4, 3), strides=(1, 4))
    content = archive(b"\x80\x02" + dictionary({"a": turned, "b": tied}) + b".", {"0": ROWS})
    found = read(content, tmp_path)
    np.testing.assert_array_equal(found["a"], ROWS[:, 1:3])
    np.testing.assert_array_equal(found["b"], ROWS.T)


class Evil:
    """An object whose pickle runs a command where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_a_command_is_refused_by_name(protocol, tmp_path):
    made = tmp_path / "ran"
    evil = pickle.dumps({"fc1.weight": Evil(made)}, protocol)
    pickle.loads(evil)
    assert made.exists()  # it is one that would
    made.unlink()
    with pytest.raises(DataError, match=r"(posix\.system|instruction \w+).*nothing of a file"):
        read(archive(evil, {}), tmp_path)
    assert not made.exists()


HOSTILE = {
    "another function": (b"cbuiltins\neval\n" + text("1") + b"\x85R.", r"builtins\.eval"),
    "a known name as a module": (b"ctorch.FloatStorage\nx\n.", r"FloatStorage\.x"),
    "a name put together": (b"\x80\x04" + text("os") + text("system") + b"\x93.", r"os\.system"),
    "an instance": (b"(ios\nsystem\n.", "INST"),
    "an object": (b"ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
    "an extension": (b"\x82\x01.", "EXT1"),
    "a call of no function": (text("x") + b")R.", "no function"),
    "a filled dictionary": (b"ccollections\nOrderedDict\n(]tR(lR.", "read"),
    "a state of a tensor": (tensor("0", ROWS) + b"}b.", "builds an object"),
    "keys that are no names": (b"}(]]u.", "not of names"),
    "a dictionary in itself": (b"}q\x00(" + text("a") + b"h\x00u.", "itself"),
    "growth by reference": (
        b"".join([b"}q\x00", *(b"}(" + text("a") + b"h\x00" + text("b") + b"h\x00uq\x00",) * 25])
        + b".",
        "more than a model's tensors",
    ),
    "a place in memory": (b"}r\xff\xff\xff\x7f.", "holds no tensors"),
    "nothing": (b".", "cannot be read"),
    "a tensor beyond its storage": (tensor("0", ROWS, offset=1) + b".", "beyond its storage"),
    "a tensor larger than its storage": (
        tensor("0", ROWS, shape=(10**6, 10**6), strides=(0, 0)) + b".",
        "size that its tensors need|take more than",
    ),
    "a storage that is not there": (tensor("7", ROWS) + b".", "cannot be read"),
    "a storage of another size": (tensor("0", ROWS, size=10**9) + b".", "size that its tensors"),
    "negative steps": (tensor("0", ROWS, strides=(-4, 1)) + b".", "whole numbers"),
    "a form of words": (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + text("a") + whole(0) + b"))tR.",
        "no storage",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_torch_never_writes_is_refused(name, tmp_path):
    pickled, sentence = HOSTILE[name]
    with pytest.raises(Refusal, match=sentence):
        read(archive(pickled, {"0": ROWS.tobytes()}), tmp_path)


def test_a_compressed_archive_is_refused(tmp_path):
    with pytest.raises(DataError, match="compressed"):
        read(archive(b".", {}, zipfile.ZIP_DEFLATED), tmp_path)


def test_damage_is_refused_or_leaves_numbers(tmp_path):
    """Of 300 files with one byte changed, none ends otherwise than in arrays or a refusal."""
    whole_file = saved({"fc1.weight": ROWS, "fc1.bias": ROWS[0]})
    random = np.random.default_rng(0)
    refused = 0
    for place in random.integers(0, len(whole_file), 300):
        content = bytearray(whole_file)
        content[place] ^= 1 << random.integers(8)
        try:
            found = read(bytes(content), tmp_path)
            assert all(isinstance(array, np.ndarray) for array in found.values())
        except Refusal:
            refused += 1
    assert refused > 100


def test_a_checkpoint_that_torch_saved_is_read():
    """tests/data/weights was written by torch 2.14: parameter i of a module is arange / 8 + i."""
    found = read_tensors(REAL / "torch.pt").arrays
    for number, (name, shape) in enumerate([("fc1.weight", (3, 4)), ("fc1.bias", (3,))]):
        expected = np.arange(np.prod(shape)).reshape(shape) / 8 + number
        np.testing.assert_array_equal(found[f"model_state_dict.{name}"], expected)
    for name, expected in {
        "half": [1.5, -2],
        "bfloat": [1.5, -2],
        "double": [0.1],
        "view": ROWS[:, 1:3],
        "turned": ROWS.T,
        "scalar": 2.5,
        "parameter": [1, 1],
        "list.1": [1],
    }.items():
        np.testing.assert_array_equal(found[name], expected)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("module.pt", r"__main__\.VAE.*state_dict"), ("legacy.pt", "bare pickle.*state_dict")],
)
def test_a_whole_module_and_the_old_form_are_refused_with_what_to_save(name, sentence):
    with pytest.raises(Refusal, match=sentence):
        read_tensors(REAL / name)
