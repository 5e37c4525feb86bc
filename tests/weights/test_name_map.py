"""A line of a map says what it says: cuts, turns, scales and joins are those of numpy."""

import re

import numpy as np
import pytest

from avi.errors import ConfigError, DataError
from avi.weights.fill import fill
from avi.weights.name_map import parse, read_map
from avi.weights.tensors import Tensors, read_tensors

W = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.array([1, 2, 4], np.float32)
FILE = {"w": W, "b": B, "['a b']": W, "dense/kernel:0": W, "steps": np.array(3)}


def filled(lines, tmp_path, shape, arrays=FILE, dtype=np.float32):
    (tmp_path / "map.yaml").write_text(lines)
    names = read_map(tmp_path / "map.yaml", "map.yaml")
    wanted = {"p": np.zeros(shape, dtype)}
    return fill(wanted, Tensors(tmp_path / "f.npz", arrays, ""), names, lambda shapes: "")


OTHERS = "\nunused: '*'"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("w", W),
        ("w^T", W.T),
        ("w^T^T", W),
        ("0.5 * w", W / 2),
        ("-1e-1*w^T", np.float32(-0.1) * W.T),
        ("w[1]", W[1]),
        ("'w[:, 0:2]'", W[:, :2]),
        ("'w[1:, 2]'", W[1:, 2]),
        ("'w^T[0:2]^T'", W[:, :2]),
        ("[w, 2 * w]", np.concatenate([W, 2 * W], axis=1)),
        ("[w^T, w^T]", np.concatenate([W.T, W.T], axis=1)),
        ("[b, 0.5 * b]", np.concatenate([B, B / 2])),
        ("dense/kernel:0", W),
        ("""'"[''a b'']"^T'""", W.T),
        ("0.25", np.full((2, 2), 0.25)),
        ("-1", np.full(3, -1)),
    ],
)
def test_a_line_is_what_numpy_makes_of_it(line, expected, tmp_path):
    made = filled(f"p: {line}{OTHERS}", tmp_path, expected.shape).arrays["p"]
    np.testing.assert_array_equal(made, expected.astype(np.float32))


@pytest.mark.parametrize(
    "text", ["", "w^", "w^TT x", "w[0:2", "w[::2]", "w[-1]", "2 *", "w + w", 3]
)
def test_what_is_no_line_is_refused_with_the_form(text):
    with pytest.raises(ConfigError, match="m: p: expected a "):
        parse(text, "m: p")


@pytest.mark.parametrize(
    ("lines", "sentences"),
    [
        ("p: w", ["p: [2, 2] here, [2, 3] = w there", "b: a tensor that no line of the map takes"]),
        ("p: w[0:2]^T\nunused: [b, steps]", ["['a b']: a tensor that", "dense/kernel:0: a tensor"]),
        ("p: v", ["v: no such tensor", "The file holds w, b"]),
        ("q: w", ["p: no line of the map", "q: no parameter here"]),
        ("p: 'w[0:9]'", ["p: w has the shape [2, 3]; 0:9 reaches out"]),
        ("p: 'b[0, 0]'", ["p: b has the shape [3]; [0, 0] is of another"]),
        ("p: [w, w^T]", ["p: [2, 3], [3, 2] cannot be joined"]),
        ("p: 1e300", ["p: 1e+300 is not finite in float32"]),
        ("p: steps", ["p: steps holds int64, which are no weights"]),
        ("p: []", ["expected a tensor"]),
        ("p: true", ["expected a tensor"]),
        ("unused: 3", ["expected a list of names"]),
    ],
)
def test_all_that_does_not_fit_is_named(lines, sentences, tmp_path):
    with pytest.raises(ConfigError) as refused:
        filled(lines, tmp_path, (2, 2))
    for sentence in sentences:
        assert sentence in str(refused.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_number_that_is_none_in_the_precision_is_refused(bad, tmp_path):
    with pytest.raises(ConfigError, match="not finite in float32"):
        filled("p: w", tmp_path, (1,), {"w": np.array([bad])})


def test_names_may_all_begin_alike(tmp_path):
    arrays = {"model.w": W, "model.b": B, "model.more.w": W, "optimizer.w": W}
    lines = "p: ['w[0]', b]\nunused: [more.w, optimizer.*]"
    found = filled(lines, tmp_path, (6,), arrays)
    assert (found.prefix, set(found.left_out)) == ("model.", {"model.more.w", "optimizer.w"})
    twice = {"model.w": W, "ema.w": W}
    with pytest.raises(ConfigError, match=r"model\.\*: one of 2 beginnings that fit"):
        filled("p: w", tmp_path, W.shape, twice)


FILES = {
    "vae.h5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "one.path"),
    "vae.pkl": (b"\x80\x04}.", "bare pickle"),
    "vae.txt": (b"weights", "neither safetensors, npz nor a zip of torch.save"),
    "damaged.safetensors": (b"\x20" + bytes(7) + b"{" + bytes(40), "cannot be read"),
    "damaged.npz": (b"PK\x03\x04" + bytes(40), "cannot be read"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_form_are_refused_with_what_to_save(name, tmp_path):
    content, sentence = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ConfigError, DataError), match=re.escape(sentence)):
        read_tensors(tmp_path / name)


def test_an_npz_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "vae.npz", a=np.array([{}], object))
    with pytest.raises(DataError, match="never objects"):
        read_tensors(tmp_path / "vae.npz")
