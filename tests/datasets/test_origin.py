"""Rows keep their place in the user's file, and columns their names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets.test_corpus import LDA_C, MATRIX, SVMLIGHT, corpus, dense
from datasets.test_file import PLAIN, REAL

from avi.datasets.corpus import Corpus
from avi.datasets.tables import Table
from avi.datasets.texts import Vectorizer
from avi.errors import ConfigError, DataError


def test_every_row_of_a_file_is_found_at_its_place(tmp_path):
    np.save(tmp_path / "rows.npy", REAL)
    for shuffle in (True, False):
        splits = replace(PLAIN, path=str(tmp_path / "rows.npy"), shuffle=shuffle).load()
        rows = np.concatenate([splits.train, splits.valid, splits.test])
        everything = np.arange(len(REAL))
        places = splits.origin.rows_of(everything)
        np.testing.assert_array_equal(rows, REAL[places])
        assert [splits.origin.id_of(place) for place in places] == everything.tolist()


def test_every_document_is_found_at_its_place_and_under_its_name(tmp_path):
    for number, text in enumerate(["aa bb", "bb cc", "cc aa", "aa aa", "bb bb"]):
        (tmp_path / f"{number}.txt").write_text(text)
    texts = Corpus(str(tmp_path), "text", None, 0, Vectorizer(1, 1.0, None), 0.2, 0.2, 3)
    splits = texts.load()
    whole = dense(texts._read(tmp_path).rows(4))
    rows = np.concatenate([dense(getattr(splits, name)) for name in ("train", "valid", "test")])
    np.testing.assert_array_equal(rows, whole[splits.origin.rows])
    assert splits.origin.documents == tuple(f"{number}.txt" for number in range(5))


TABLE = Table(REAL[:4], "mine.csv", ("a", "b", "c"))


def test_columns_are_put_into_the_order_of_training_by_their_names():
    turned = Table(REAL[:4, ::-1], "new.csv", ("c", "b", "a"))
    np.testing.assert_array_equal(turned.ordered(TABLE.columns).rows, TABLE.rows)
    assert TABLE.ordered(None) is TABLE
    nameless = Table(REAL, "new.npy")
    assert nameless.ordered(TABLE.columns) is nameless


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (("p", "b", "c"), r"Not there: a\. Not known: p"),
        (("a", "b"), "Not there: c"),
        (("a", "b", "c", "d"), "Not known: d"),
    ],
)
def test_columns_of_other_names_are_refused(columns, words):
    with pytest.raises(DataError, match=words):
        Table(np.zeros((2, len(columns))), "new.csv", columns).ordered(TABLE.columns)


def test_two_columns_of_one_name_have_no_order():
    same = Table(REAL, "mine.csv", ("a", "a", "b"))
    assert same.ordered(("a", "a", "b")) is same
    with pytest.raises(DataError, match="two columns of training are called a"):
        same.ordered(("a", "b", "a"))


@pytest.mark.parametrize(
    ("layout", "text", "new", "first_id"),
    [
        ("lda-c", LDA_C, "2 0:5 9:3\n1 1:2\n", 0),
        ("lda-c", LDA_C, "3 0:5 9:1 2000000000:2\n1 1:2\n", 0),  # at once, and in little memory
        ("svmlight", SVMLIGHT, "0 1:5 10:3\n0 2:2\n", 1),
        (
            "matrix-market",
            MATRIX,
            "%%MatrixMarket matrix coordinate integer general\n2 10 3\n1 1 5\n1 10 3\n2 2 2\n",
            0,
        ),
    ],
)
def test_new_documents_are_read_in_the_form_of_the_run(tmp_path, layout, text, new, first_id):
    (tmp_path / "old").write_text(text)
    (tmp_path / "new").write_text(new)
    own = corpus(tmp_path / "old", layout, first_id=first_id)
    vocabulary = own.load().vocabulary
    found = own.documents_of(tmp_path / "new", vocabulary)
    assert found.vocabulary[: len(vocabulary)] == vocabulary
    assert dense(found.rows(4))[:, :4].tolist() == [[5, 0, 0, 0], [0, 2, 0, 0]]
    assert (found.tokens(), len(found)) == (10, 2)


def test_new_texts_keep_the_ids_of_known_words(tmp_path):
    (old := tmp_path / "old").mkdir()
    (new := tmp_path / "new").mkdir()
    for number, text in enumerate(["cc bb", "bb dd", "dd cc"]):
        (old / f"{number}.txt").write_text(text)
    (new / "x.txt").write_text("dd aa dd zz")
    (new / "y.txt").write_text("aa")
    texts = Corpus(str(old), "text", None, 0, Vectorizer(1, 1.0, None), 0.3, 0.3, 0)
    vocabulary = texts.load().vocabulary
    assert vocabulary == ("bb", "cc", "dd")
    found = texts.documents_of(new, vocabulary)
    assert dense(found.rows(3))[:, :3].tolist() == [[0, 0, 2], [0, 0, 0]]
    assert (found.names, found.tokens()) == (("x.txt", "y.txt"), 5)
    with pytest.raises(ConfigError, match="no such file or folder of texts"):
        texts.documents_of(new / "z.txt", vocabulary)


def test_words_that_training_has_not_seen_are_counted(tmp_path):
    (tmp_path / "counts").write_text("1 0:2\n1 0:1\n2 0:1 1:7\n1 0:3\n")
    by_seed = {}
    for seed in range(8):
        splits = corpus(tmp_path / "counts", "lda-c", seed=seed).load()
        own = int(splits.origin.id_of(2))  # the document with the rare word
        by_seed[("train", "train", "valid", "test")[own]] = splits.unseen
    assert sum(left for left, _ in by_seed["train"].values()) == 0
    assert by_seed["test"]["test"] == (7, 8)
    assert by_seed["valid"]["valid"] == (7, 8)


@pytest.mark.parametrize(("first_id", "said"), [(0, True), (1, False)])
def test_a_corpus_without_id_0_is_remarked(tmp_path, first_id, said):
    (tmp_path / "counts").write_text("1 1:2\n1 2:1\n2 1:1 2:7\n1 1:3\n")
    remarks = corpus(tmp_path / "counts", "lda-c", first_id=first_id).load().remarks
    assert bool(remarks) == said
    assert not said or "dataset.first_id=1" in remarks[0]


def test_infer_counts_rows_as_the_file_does_and_reorders_columns(avi, workplace):
    names = [f"c{number}" for number in range(REAL.shape[1])]

    def write(name, rows, columns):
        lines = [",".join(columns), *(",".join(map(repr, map(float, row))) for row in rows)]
        (workplace / name).write_text("\n".join(lines))

    write("rows.csv", REAL, names)
    write("again.csv", REAL[:, ::-1], names[::-1])
    write("other.csv", REAL, ["x", *names[1:]])
    words = "model=linear_gaussian dataset=file dataset.path=rows.csv dataset.support=real"
    short = "train.epochs=1 train.batch_size=null train.report=false gap.num_points=4 output=run"
    trained = avi("train", *words.split(), *short.split(), "gap.seconds=5")
    assert trained.returncode == 0, trained.stderr

    def table(name):
        path = workplace / name / "posterior.csv"
        found = np.genfromtxt(path, delimiter=",", names=True)
        return {int(line["row"]): line.tolist() for line in found}

    alone, bound = "certify=false", 1  # the mode's q, and the column of its bound
    for out, more in {"own": (), "train": ("split=train",)}.items():
        assert avi("infer", "run=run", f"out={out}", *more, alone).returncode == 0
    assert avi("infer", "run=run", "data=again.csv", "out=again", alone).returncode == 0
    everything = table("again")
    assert list(everything) == list(range(len(REAL)))
    # The draws of a bound depend on the row's id; q does not.
    for line in (table("own") | table("train")).items():
        found, expected = np.delete([everything[line[0]], line[1]], bound, axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    measured = np.genfromtxt(
        workplace / "run/gap/points.csv", delimiter=",", names=True, dtype=None
    )
    of_test = {int(line["row"]) for line in measured if line["split"] == "test"}
    assert of_test <= set(table("own"))
    # From elsewhere: the run knows where its own file is.
    (workplace / "below").mkdir()
    below = avi("infer", "run=../run", "out=again", alone, folder="below")
    assert below.returncode == 0, below.stderr
    assert table("below/again") == table("own")
    # For new rows the file of training is not needed.
    (workplace / "rows.csv").unlink()
    without = avi("infer", "run=run", "data=again.csv", "out=alone", alone)
    assert without.returncode == 0, without.stderr
    assert table("alone") == everything
    refused = avi("infer", "run=run", "data=other.csv")
    assert refused.returncode == 7
    assert "Not there: c0. Not known: x" in refused.stderr


def test_a_file_that_is_not_there_is_named_with_the_folder_it_was_sought_from(workplace):
    with pytest.raises(ConfigError, match=f"seen from {Path.cwd()}"):
        replace(PLAIN, path="nowhere.npy").load()
