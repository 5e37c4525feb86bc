"""Documents: what is read is what was written; a line that breaks the contract is named."""

import csv
import gzip
import io
import json
import tarfile

import jax
import numpy as np
import pytest

from avi.datasets.ap import AssociatedPress
from avi.datasets.corpus import Corpus
from avi.datasets.texts import Vectorizer
from avi.engine.buckets import by_length, make_buckets, place, take
from avi.errors import ConfigError, DataError
from avi.ragged import Ragged

LDA_C = "2 0:1 3:2\n1 1:4\n3 0:1 2:1 3:1\n1 2:7\n"
SVMLIGHT = "# header\n1 1:1 4:2 # text\n-1 qid:3 2:4\n0 1:1 2:0 3:1 4:1\n1 3:7\n"
MATRIX = (
    "%%MatrixMarket matrix coordinate integer general\n% comment\n4 4 7\n"
    "1 1 1\n1 4 2\n2 2 4\n3 1 1\n3 3 1\n3 4 1\n4 3 7\n"
)
DENSE = np.array([[1, 0, 0, 2], [0, 4, 0, 0], [1, 0, 1, 1], [0, 0, 7, 0]])
VECTORIZER = Vectorizer(min_documents=1, max_share=1.0, stop_words=None)


def corpus(path, layout, first_id=0, vocabulary=None, seed=0):
    return Corpus(
        str(path), layout, vocabulary and str(vocabulary), first_id, VECTORIZER, 0.25, 0.25, seed
    )


def dense(rows):
    """Return documents as a matrix of counts."""
    everything = np.arange(len(rows.ids))
    matrix = np.zeros((len(everything), rows.num_terms), int)
    np.add.at(matrix, (everything[:, None], rows.ids[everything]), rows.counts[everything])
    return matrix


def read(path, layout, **options):
    """Return all documents of a file: those of the splits, less what held-out ones lose."""
    found = corpus(path, layout, **options)
    return found._read(path).rows(4)


@pytest.mark.parametrize(
    ("text", "layout", "first_id"),
    [
        (LDA_C, "lda-c", 0),
        (SVMLIGHT, "svmlight", 1),
        (MATRIX, "matrix-market", 0),
        (LDA_C.replace(" ", "\t"), "lda-c", 0),
        (SVMLIGHT.replace(" ", "\t"), "svmlight", 1),
    ],
    ids=["lda-c", "svmlight", "matrix-market", "lda-c by tabs", "svmlight by tabs"],
)
def test_three_formats_of_the_same_counts_are_the_same_documents(tmp_path, text, layout, first_id):
    path = tmp_path / "counts"
    path.write_text(text)
    np.testing.assert_array_equal(dense(read(path, layout, first_id=first_id)), DENSE)


def test_a_folder_of_texts_is_counted_term_by_term(tmp_path):
    for name, text in {"a": "The cat, the hat", "b": "A hat!", "c": "cat cat", "d": "the"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    bags = corpus(tmp_path, "text")._read(tmp_path)
    assert bags.vocabulary == ("cat", "hat", "the")
    np.testing.assert_array_equal(dense(bags.rows(3)), [[1, 1, 2], [0, 1, 0], [2, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("text", "layout", "line", "reason"),
    [
        ("1 0:1\n1 9:1\n", "lda-c", 2, "term id 9 is outside the vocabulary, whose ids are 0 to 3"),
        ("1 0:1\n1 -1:1\n", "lda-c", 2, "term id -1 is below the first, 0"),
        ("1 0:1\n0\n", "lda-c", 2, "the document is empty"),
        ("1 0:1\n\n", "lda-c", 2, "expected `M id:count"),
        ("1 0:-2\n", "lda-c", 1, "expected whole counts .* found -2"),
        ("1 0:1\n1 0:1.5\n", "lda-c", 2, "expected whole counts .* found 1.5"),
        ("1 0:nan\n", "lda-c", 1, "expected whole counts .* found nan"),
        ("1 0:x\n", "lda-c", 1, "expected whole counts .* found x"),
        ("1 0:99999999999\n", "lda-c", 1, "expected whole counts"),
        ("2 0:1\n", "lda-c", 1, "M = '2' and 1 pair"),
        ("1 0-1\n", "lda-c", 1, "expected id:count, found '0-1'"),
        ("2 0:1 0:1\n", "lda-c", 1, "a term id occurs twice"),
        ("1 0:1\n1\n", "svmlight", 2, "the document is empty"),
        ("1 0:1\n1 5:1\n", "svmlight", 2, "term id 5 is outside"),
        ("1 2:0.5\n", "svmlight", 1, "found 0.5"),
        ("0:1 2:1\n", "svmlight", 1, "found '0:1' in place of the label"),
        ("1 1 1\n", "matrix-market", 1, "expected `%%MatrixMarket"),
        (MATRIX.replace("4 4 7", "4 9 7"), "matrix-market", 3, "9 terms, the vocabulary 4"),
        (MATRIX.replace("2 2 4", "2 5 4"), "matrix-market", 6, "term id 5 is outside .* 1 to 4"),
        (MATRIX.replace("2 2 4", "9 2 4"), "matrix-market", 6, "document 9 is not in 1..4"),
        (MATRIX.replace("2 2 4", "2 2 -4"), "matrix-market", 6, "found -4"),
        (MATRIX.replace("2 2 4", "2 2"), "matrix-market", 6, "expected `document term count`"),
    ],
)
def test_a_line_that_breaks_the_contract_is_named(tmp_path, text, layout, line, reason):
    path, vocabulary = tmp_path / "counts", tmp_path / "vocabulary"
    path.write_text(text)
    vocabulary.write_text("a\nb\nc\nd\n")
    with pytest.raises(DataError, match=rf"counts, line {line}: .*{reason}"):
        corpus(path, layout, vocabulary=vocabulary).load()


def test_other_bad_files_are_refused_in_words(tmp_path):
    path, vocabulary = tmp_path / "counts", tmp_path / "vocabulary"
    path.write_text(MATRIX.replace("4 4 7", "4 4 8"))
    with pytest.raises(DataError, match="promises 8 entries; found 7"):
        corpus(path, "matrix-market").load()
    path.write_text(MATRIX.replace("2 2 4\n", "").replace("4 4 7", "4 4 6"))
    with pytest.raises(DataError, match="document 2 has no entries"):
        corpus(path, "matrix-market").load()
    path.write_bytes(b"1 0:1\n1 \xff:1\n")
    with pytest.raises(DataError, match="line 2: not text in UTF-8"):
        corpus(path, "lda-c").load()
    path.write_text("")
    with pytest.raises(DataError, match="holds no documents"):
        corpus(path, "lda-c").load()
    vocabulary.write_text("a\n\nb\n")
    path.write_text(LDA_C)
    with pytest.raises(DataError, match="vocabulary, line 2: expected a term"):
        corpus(path, "lda-c", vocabulary=vocabulary).load()
    with pytest.raises(ConfigError, match="no such file"):
        corpus(tmp_path / "other", "lda-c").load()
    with pytest.raises(DataError, match=r"holds no file that ends in \.txt"):
        corpus(tmp_path, "text").load()
    (tmp_path / "one.txt").write_text("cat")
    (tmp_path / "two.txt").write_text("...")
    with pytest.raises(DataError, match=r"two\.txt: no term"):
        corpus(tmp_path, "text").load()


def test_held_out_documents_lose_the_terms_that_training_never_has(tmp_path):
    path = tmp_path / "counts"
    path.write_text("".join(f"2 0:1 {n}:1\n" for n in range(1, 21)))  # each has a term of its own
    splits = corpus(path, "lda-c").load()
    assert [len(split.ids) for split in splits[:3]] == [10, 5, 5]
    assert dense(splits.train).sum() == 20
    for rows in (splits.valid, splits.test):
        np.testing.assert_array_equal(dense(rows)[:, 0], 1)
        assert dense(rows).sum() == 5


def test_memory_goes_with_what_is_not_zero(tmp_path):
    path = tmp_path / "counts"
    long = " ".join(f"{n}:1" for n in range(5000))
    path.write_text("".join(f"1 {n}:1\n" for n in range(1000)) + f"5000 {long}\n")
    splits = corpus(path, "lda-c").load()
    held = sum(rows.ids.nbytes + rows.counts.nbytes for rows in splits[:3])
    assert held < 100_000  # 6000 entries and 1001 rows; padded, 1001 x 5000 would be 15 MB


def test_the_associated_press_is_the_corpus_of_the_literature(public):
    public("ap/ap.tgz")
    splits = AssociatedPress(num_valid=0).load()
    assert len(splits.vocabulary) == 10_473
    assert splits.vocabulary[:2] == ("i", "new")
    assert [len(rows.ids) for rows in splits[:3]] == [2000, 0, 246]
    assert dense(splits.test).sum() == 45_781  # 356 tokens of unknown terms are left out
    assert dense(splits.train).sum() == 435_838 - 45_781 - 356


def test_a_changed_article_is_refused(public, tmp_path, monkeypatch):
    archive = bytearray(gzip.decompress(public("ap/ap.tgz").read_bytes()))
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        place_of = members.getmember("ap/ap.dat").offset_data
    archive[place_of + 100] ^= 1
    (tmp_path / "ap").mkdir()
    (tmp_path / "ap" / "ap.tgz").write_bytes(gzip.compress(bytes(archive), 1))
    monkeypatch.setenv("AVI_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="expected c9b946b6"):
        AssociatedPress(num_valid=0).load()


def column(lengths):
    lengths = np.asarray(lengths, np.int32)
    starts = np.cumsum(lengths) - lengths
    return Ragged(np.arange(1, lengths.sum() + 1), starts, lengths, int(lengths.max()))


def test_a_column_reads_as_padded_rows_on_the_host_and_on_the_device():
    rows = column([2, 0, 3])
    expected = [[1, 2, 0], [0, 0, 0], [3, 4, 5]]
    np.testing.assert_array_equal(rows[np.arange(3)], expected)
    np.testing.assert_array_equal(rows[2], expected[2])
    np.testing.assert_array_equal(rows[np.array([True, False, True])], [expected[0], expected[2]])
    np.testing.assert_array_equal(rows.between(1, 3)[:2], expected[1:])
    placed = take(place({"a": rows, "b": np.arange(3)}), np.array([2, 0]), 4)
    np.testing.assert_array_equal(placed["a"], [[3, 4, 5, 0], [1, 2, 0, 0]])
    np.testing.assert_array_equal(placed["b"], [2, 0])


@pytest.mark.parametrize(("number", "batch_size"), [(103, 10), (100, 10), (40, 20), (7, 7), (9, 5)])
def test_batches_come_from_one_bucket_and_every_row_is_as_likely(number, batch_size):
    rows = column(np.random.default_rng(0).geometric(0.05, number))
    buckets = make_buckets(rows, batch_size)
    steps = number // batch_size
    assert len(buckets.widths) <= 4
    assert buckets.ends[-1] == steps
    epochs = []
    order_of = jax.jit(
        lambda key: by_length(
            jax.random.fold_in(key, 1),
            jax.random.permutation(key, number)[: steps * batch_size],
            buckets,
            batch_size,
        )
    )
    for epoch in range(400):
        order = np.asarray(order_of(jax.random.fold_in(jax.random.key(0), epoch)))
        assert len(set(order.tolist())) == steps * batch_size
        epochs.append(order.reshape(steps, batch_size))
        longest = np.sort(rows.lengths[epochs[-1]].max(1))
        widths = np.repeat(buckets.widths, np.diff([0, *buckets.ends]))
        assert (longest <= widths).all()
    first = np.bincount(np.array(epochs)[:, 0].ravel(), minlength=number) / 400
    share = batch_size / number
    # In the first batch of an epoch as often as any other row: 5 s.e. of 400 epochs, 6e-7 each.
    assert (abs(first - share) <= 5 * np.sqrt(share * (1 - share) / 400)).all()


SAID = ("the cat sat, twice the cat", 'a "dog", and\tthe cat', "birds sing; birds fly")


def written(kind, folder):
    """Write the same texts in one of the forms that are read."""
    if kind == "folder":
        for number, text in enumerate(SAID):
            (folder / f"{number}.txt").write_text(text)
        return folder
    path = folder / f"texts.{kind}"
    if kind == "txt":
        path.write_text("\n\n".join(SAID))
    elif kind == "jsonl":
        lines = [json.dumps({"id": 1, "text": SAID[0]}), json.dumps(SAID[1])]
        path.write_text("\n".join([*lines, "", json.dumps({"text": SAID[2]})]))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="," if kind == "csv" else "\t")
            writer.writerows([("n", "text"), *enumerate(SAID)])
    return path


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv", "tsv"])
def test_texts_are_the_same_documents_in_a_folder_and_in_a_file(kind, tmp_path):
    (tmp_path / "folder").mkdir()
    folder = corpus(written("folder", tmp_path / "folder"), "text")._read(tmp_path / "folder")
    path = written(kind, tmp_path)
    found = corpus(path, "text")._read(path)
    assert found.vocabulary == folder.vocabulary
    for part in ("ids", "counts", "starts", "lengths"):
        assert np.array_equal(getattr(found, part), getattr(folder, part))
    assert found.names is None  # documents are counted


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl", '{"text": "the cat"}\n{"body": "a dog"}\n', r"line 2: .*'text'; it has body"),
        ("x.jsonl", '{"text": "the cat"}\n{"text"', "line 2: not JSON"),
        ("x.csv", "n,body\n1,the cat\n", "line 1: there is no column 'text'; it has n, body"),
        ("x.csv", "n,text\n1,the cat\n2\n", "line 3: found 1 cell; the header has 2"),
        ("x.csv", "n,text\n1,the cat\n2,\n", r"line 3: no term of the vocabulary is in it"),
        ("x.jsonl", "", "holds no documents"),
    ],
)
def test_a_file_of_texts_that_breaks_its_form_is_refused_by_line(name, content, said, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        corpus(tmp_path / name, "text").load()


def test_a_file_of_texts_of_another_kind_is_refused_with_those_that_are_read(tmp_path):
    (tmp_path / "x.doc").touch()
    with pytest.raises(ConfigError, match=r"ends in \.txt, \.jsonl, \.csv, \.tsv"):
        corpus(tmp_path / "x.doc", "text").load()
