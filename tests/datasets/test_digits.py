"""The embedded data set is what scikit-learn ships, split once and for all."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from avi.datasets.base import describe, repeated_rows
from avi.datasets.digits import Digits
from avi.errors import Refusal

GREY = Digits("none", 0, 180, 180, 0)


def test_every_digit_is_in_one_split_with_its_class():
    from sklearn.datasets import load_digits

    published = load_digits()
    splits = GREY.load()
    sizes = [len(split) for split in splits[:3]]
    assert sizes == [1437, 180, 180]
    rows = np.concatenate(splits[:3])
    labels = np.concatenate([splits.labels[name] for name in ("train", "valid", "test")])
    found = Counter((row.tobytes(), int(label)) for row, label in zip(rows, labels, strict=True))
    expected = Counter(
        (row.astype(np.uint8).tobytes(), int(label))
        for row, label in zip(published.data, published.target, strict=True)
    )
    assert found == expected
    assert repeated_rows(splits) == 0


def test_the_split_is_recorded_by_its_seed():
    other = Digits("none", 0, 180, 180, 1).load()
    assert (GREY.load().train == GREY.load().train).all()
    assert not (GREY.load().train == other.train).all()


def test_grey_is_k_over_16_exactly():
    splits = GREY.load()
    np.testing.assert_array_equal(GREY.view(splits.train[0], 0, 0) * 16, splits.train[0])
    assert GREY.support == "unit"
    assert splits.train.dtype == np.uint8


def test_a_model_is_told_the_mean_of_what_reports_score():
    fixed, dynamic = Digits("fixed", 0, 180, 180, 0), Digits("dynamic", 0, 180, 180, 0)
    bits = fixed.load()
    for dataset in (fixed, dynamic):
        spec = describe(dataset, dataset.load())
        np.testing.assert_allclose(spec.mean, bits.train.mean(0), rtol=1e-6)  # float32 of a mean
        np.testing.assert_array_equal(spec.example, bits.train[0])
        assert spec.num_data == 1437
        assert spec.support == "binary"


def test_splits_that_leave_no_row_are_refused():
    with pytest.raises(Refusal, match="each of the three needs at least 1"):
        Digits("fixed", 0, 1000, 797, 0)
    with pytest.raises(Refusal, match="each of the three needs at least 1"):
        Digits("fixed", 0, 0, 180, 0)


def test_loading_does_not_import_scikit_learn():
    code = (
        "import sys; from avi.datasets.digits import Digits; "
        "Digits('none', 0, 1, 1, 0).load(); sys.exit('sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
