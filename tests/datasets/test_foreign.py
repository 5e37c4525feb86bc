"""Tables as other programs write them: read as they are, and refused in a sentence."""

import gzip
import lzma
import sys

import numpy as np
import pytest
import scipy.sparse
from scipy.io import mmwrite, savemat

from avi.datasets.columns import Reading
from avi.datasets.tables import read_again, read_table
from avi.errors import ConfigError, DataError

ROWS = np.random.default_rng(0).normal(size=(20, 3))
SPARSE_2 = "%%MatrixMarket matrix coordinate integer general\n% a comment\n\n2 2"
COUNTS = np.random.default_rng(1).poisson(1.0, size=(6, 4))


@pytest.fixture
def parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "rows.parquet"
    table = {
        "a": ROWS[:, 0],
        "b": pyarrow.array([None, *ROWS[1:, 1].tolist()]),
        "flag": pyarrow.array((ROWS[:, 2] > 0).tolist()),
        "kind": pyarrow.array(["u", "w"] * 10).dictionary_encode(),
        "__index_level_0__": np.arange(20),
    }
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return path


@pytest.fixture
def genes(tmp_path):
    folder = tmp_path / "genes"
    folder.mkdir()
    mmwrite(folder / "matrix.mtx", scipy.sparse.coo_matrix(COUNTS.T))
    (folder / "features.tsv").write_text("E0\tTWICE\nE1\tTWICE\nE2\tONCE\nE3\tALSO\n")
    (folder / "barcodes.tsv").write_text("".join(f"cell{n}\n" for n in range(6)))
    return folder


@pytest.fixture
def images(tmp_path):
    from PIL import Image

    pixels = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)
    for place, name in enumerate(("b/0.png", "a/1.png", "a/0.png", "b/2.PNG")):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[place]).save(path)
    return tmp_path / "images", pixels


def test_a_parquet_file_keeps_names_missing_values_truths_and_classes(parquet):
    table = read_table(parquet, Reading(label="kind", columns=None))
    assert table.columns == ("a", "b", "flag")
    expected = np.column_stack([ROWS[:, 0], [np.nan, *ROWS[1:, 1]], ROWS[:, 2] > 0])
    np.testing.assert_array_equal(table.rows, expected)
    assert table.labels.tolist() == ["u", "w"] * 10
    assert any("left out: __index_level_0__" in line.lower() for line in table.understood)


def test_text_and_lists_in_a_parquet_file_are_refused_by_name(parquet, tmp_path):
    import pyarrow
    import pyarrow.parquet

    with pytest.raises(DataError, match=r"column kind holds text\. Say dataset\.drop=\[kind\]"):
        read_table(parquet)
    nested = tmp_path / "nested.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [[1, 2]] * 3}), nested)
    with pytest.raises(DataError, match="column 'a' holds list<"):
        read_table(nested)


def test_columns_of_new_parquet_data_are_those_of_training_by_name(parquet, tmp_path):
    import pyarrow
    import pyarrow.parquet

    trained = read_table(parquet, Reading(columns=("a", "b")))
    new = tmp_path / "new.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"b": [1.0, 2.0], "a": [3.0, 4.0]}), new)
    found = read_again(new, Reading(), trained.layout, trained.columns)
    np.testing.assert_array_equal(found.rows, [[3, 1], [4, 2]])


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_a_matlab_file_gives_the_array_that_is_named(version, tmp_path):
    path = tmp_path / "rows.mat"
    if version == "5":
        sparse = scipy.sparse.csc_matrix(COUNTS.astype(float))
        savemat(path, {"x": ROWS, "counts": sparse, "word": "text"})
    else:
        import h5py

        with h5py.File(path, "w", userblock_size=512) as file:
            file["x"], file["counts"] = ROWS.T, COUNTS.T.astype(float)
    np.testing.assert_array_equal(read_table(path, Reading(array="x")).rows, ROWS)
    np.testing.assert_array_equal(read_table(path, Reading(array="counts")).rows, COUNTS)
    for name, said in ((None, r"name one with dataset\.array="), ("y", "but not 'y'")):
        with pytest.raises(DataError, match=said):
            read_table(path, Reading(array=name))


def test_a_matrix_of_genes_is_turned_and_names_are_single(genes):
    table = read_table(genes)
    np.testing.assert_array_equal(table.rows, COUNTS)
    assert table.columns == ("E0", "E1", "ONCE", "ALSO")
    assert table.row_names == tuple(f"cell{n}" for n in range(6))
    (genes / "barcodes.tsv").write_text("only one\n")
    with pytest.raises(DataError, match="there are 4 genes and 1 cells"):
        read_table(genes)
    (genes / "barcodes.tsv").unlink()
    with pytest.raises(DataError, match=r"there is no barcodes\.tsv in it"):
        read_table(genes)


def test_annotated_data_give_layers_names_and_labels(tmp_path):
    anndata = pytest.importorskip("anndata")
    data = anndata.AnnData(scipy.sparse.csr_matrix(COUNTS.astype(float)))
    data.var_names, data.obs_names = list("wxyz"), [f"cell{n}" for n in range(6)]
    data.obs["type"], data.layers["twice"] = ["A", "B"] * 3, data.X * 2
    data.write_h5ad(tmp_path / "cells.h5ad")
    plain = read_table(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(plain.rows, COUNTS)
    assert plain.columns == tuple("wxyz")
    assert plain.row_names == tuple(f"cell{n}" for n in range(6))
    named = read_table(tmp_path / "cells.h5ad", Reading(array="twice", label="type"))
    np.testing.assert_array_equal(named.rows, 2 * COUNTS)
    assert named.labels.tolist() == ["A", "B"] * 3
    with pytest.raises(DataError, match="it holds X and twice, but no layer 'once'"):
        read_table(tmp_path / "cells.h5ad", Reading(array="once"))
    data.X = None
    data.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(DataError, match=r"no X; name a layer with dataset\.array=<name>"):
        read_table(tmp_path / "cells.h5ad")
    again = read_table(tmp_path / "cells.h5ad", Reading(array="twice"))
    np.testing.assert_array_equal(again.rows, 2 * COUNTS)


def test_images_are_rows_by_name_and_folders_are_classes(images):
    folder, pixels = images
    table = read_table(folder)
    np.testing.assert_array_equal(table.rows, pixels.reshape(4, 6)[[2, 1, 0, 3]])
    assert table.row_names == ("a/0.png", "a/1.png", "b/0.png", "b/2.PNG")
    assert table.labels.tolist() == ["a", "a", "b", "b"]
    assert "dataset.image_shape=[2,3] draws them" in table.understood[0]


def test_an_image_of_another_size_and_one_that_is_none_are_named(images):
    from PIL import Image

    folder, _ = images
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "a" / "odd.png")
    with pytest.raises(DataError, match=r"odd\.png has 9 x 9 pixels, but .* has 3 x 2"):
        read_table(folder)
    (folder / "a" / "odd.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"cannot identify image file .*odd\.png"):
        read_table(folder)


def written(rows, first=1):
    """Return rows as svmlight, zeros left out, with their places as labels."""
    return "".join(
        f"{place} {' '.join(f'{k + first}:{v!r}' for k, v in enumerate(row) if v)} # a row\n"
        for place, row in enumerate(np.asarray(rows).tolist())
    )


@pytest.mark.parametrize("packed", ["", ".gz", ".xz"])
@pytest.mark.parametrize("first", [0, 1])
def test_svmlight_rows_are_called_by_their_ids_from_0_or_1(first, packed, tmp_path):
    path = tmp_path / f"rows.svm{packed}"
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[packed]
    path.write_bytes(pack(written(COUNTS, first).encode()))
    table = read_table(path)
    np.testing.assert_array_equal(table.rows, COUNTS)
    assert table.columns == tuple(str(first + place) for place in range(4))
    assert table.labels.tolist() == list(range(6))
    assert f"ids {first} to {first + 3}" in table.understood[0]
    left = read_table(path, Reading(drop=(first + 1,), columns=None))
    np.testing.assert_array_equal(left.rows, COUNTS[:, [0, 2, 3]])
    # New rows that are 0 in the last columns, or in the first.
    for new in ([[5, 1, 0, 0]], [[0, 0, 0, 3]]):
        path.write_bytes(pack(written(new, first).encode()))
        again = read_again(path, Reading(), left.layout, left.columns)
        np.testing.assert_array_equal(again.rows, np.asarray(new)[:, [0, 2, 3]])
    path.write_bytes(pack(written([[1, 1, 1, 1, 1]], first).encode()))
    with pytest.raises(DataError, match=f"Not known: {first + 4}"):
        read_again(path, Reading(), left.layout, left.columns)


def test_svmlight_targets_that_are_no_classes_are_not_labels(tmp_path):
    path = tmp_path / "rows.libsvm"
    path.write_text("0.5 1:2\n1.5 2:3\n")
    table = read_table(path)
    assert table.labels is None
    assert "no classes: not used" in table.understood[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.svm", "1 1:2 junk\n", "cannot be read"),
        ("x.svm", "", "it holds no rows"),
        ("x.svm", "1\n2\n", "it holds no id:value"),
        ("x.svm", "1 2000000000:1\n" * 200, "more than a quarter of the memory"),
        (
            "x.mtx",
            "%%MatrixMarket matrix array complex general\n1 1\n1 2\n",
            "found 1 x 1, .*complex",
        ),
        ("x.mtx", "%%MatrixMarket matrix array real general\n0 3\n", "found 0 x 3"),
        (
            "x.mtx",
            "%%MatrixMarket matrix coordinate real general\n2 2 99999999\n1 1 1\n",
            "its header promises 99999999 entries",
        ),
        ("x.mtx", f"{SPARSE_2} 2\n1 1 1\n", "promises 2 lines of 3 numbers; found 1 of 3"),
        ("x.mtx", f"{SPARSE_2} 1\n1 3 1\n", "there is no place 1, 3 in 2 x 2"),
        ("x.mtx", f"{SPARSE_2} 1\n0 1 1\n", "there is no place 0, 1"),
        ("x.mtx", f"{SPARSE_2} 2\n1 1 1\n1 1 2\n", "a place occurs twice"),
        ("x.mtx", f"{SPARSE_2} 1\n1 1 1.5\n", "promises whole numbers"),
        (
            "x.mtx",
            "%%MatrixMarket matrix coordinate real general\n9999999999 99999 1\n1 1 1\n",
            "more than a quarter of the memory",
        ),
        ("x.mtx.gz", "no gzip", "cannot be read"),
        ("x.pkl", "", "a pickle, which can run code"),
    ],
)
def test_sparse_texts_that_break_their_form_and_pickles_are_refused(name, content, said, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises((DataError, ConfigError), match=said):
        read_table(tmp_path / name)


GRAM = np.tril(COUNTS.T @ COUNTS) + 0.5
MATRICES = {
    "coordinate integer general": COUNTS,
    "array integer general": COUNTS,
    "array real general": ROWS,
    "coordinate real symmetric": GRAM + GRAM.T,
    "coordinate real skew-symmetric": GRAM - GRAM.T,
    "coordinate pattern general": (COUNTS > 0).astype(float),
}


@pytest.mark.parametrize("form", MATRICES)
def test_a_matrix_of_matrix_market_is_read_as_scipy_writes_it(form, tmp_path):
    layout, field, symmetry = form.split()
    values = MATRICES[form]
    written = scipy.sparse.coo_matrix(values) if layout == "coordinate" else values
    mmwrite(tmp_path / "rows.mtx", written, field=field, symmetry=symmetry, precision=17)
    table = read_table(tmp_path / "rows.mtx")
    np.testing.assert_array_equal(table.rows, values)
    assert f"Matrix Market, {layout} {field}" in table.understood[0]


def test_a_matrix_beside_the_names_of_its_cells_is_asked_about(genes):
    with pytest.raises(DataError, match=f"genes down.* Say dataset.path={genes}, which turns it"):
        read_table(genes / "matrix.mtx")


@pytest.mark.parametrize("kind", ["link", "external", "virtual"])
def test_numbers_in_other_files_are_not_read(kind, tmp_path):
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = ROWS
    with h5py.File(tmp_path / "rows.mat", "w") as file:
        if kind == "link":
            file["x"] = h5py.ExternalLink("other.h5", "x")
        elif kind == "external":
            file.create_dataset("x", (9,), "u1", external=[(tmp_path / "other.h5", 0, 9)])
        else:
            layout = h5py.VirtualLayout(ROWS.shape, ROWS.dtype)
            layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", ROWS.shape)
            file.create_virtual_dataset("x", layout)
    with pytest.raises(DataError, match="x lies in another file"):
        read_table(tmp_path / "rows.mat")


def test_annotated_data_that_point_outside_themselves_are_refused(tmp_path):
    broken = scipy.sparse.csc_matrix(COUNTS.astype(float))
    broken.indices[:] = 10**6
    pytest.importorskip("anndata").AnnData(broken).write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "x.h5ad")


def test_a_folder_of_neither_is_refused_with_what_is_read(tmp_path):
    with pytest.raises(ConfigError, match="a folder without images"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("x.parquet", "pyarrow", "parquet"), ("x.h5ad", "anndata", "anndata"), ("", "PIL", "images")],
)
def test_a_library_that_is_not_there_is_named_with_its_extra(
    name, library, extra, tmp_path, monkeypatch
):
    path = tmp_path / (name or "x.png")
    path.touch()
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setitem(sys.modules, f"{library}.parquet", None)
    said = rf"is read by {library}.* Try pip install 'avi\[{extra}\]'"
    with pytest.raises(ConfigError, match=said):
        read_table(path if name else tmp_path)


@pytest.fixture
def whole(request, tmp_path):
    """Return a file of a format, and what of it is to be damaged."""
    path = tmp_path / f"rows.{request.param}"
    if request.param == "parquet":
        return request.getfixturevalue("parquet"), None
    if request.param in ("genes", "png"):
        folder = "genes" if request.param == "genes" else "images"
        where = request.getfixturevalue(folder)
        return (where, "matrix.mtx") if folder == "genes" else (where[0], "a/0.png")
    if request.param == "mat":
        savemat(path, {"x": ROWS, "y": scipy.sparse.csc_matrix(COUNTS.astype(float))})
    elif request.param == "hdf5.mat":
        with pytest.importorskip("h5py").File(path, "w", userblock_size=512) as file:
            file["x"] = ROWS.T
    elif request.param == "h5ad":
        anndata = pytest.importorskip("anndata")
        anndata.AnnData(scipy.sparse.csr_matrix(COUNTS.astype(float))).write_h5ad(path)
    elif request.param == "mtx":
        mmwrite(path, scipy.sparse.coo_matrix(COUNTS))
    elif request.param == "svm":
        path.write_text(written(COUNTS))
    return path, None


FORMATS = ["parquet", "mat", "hdf5.mat", "h5ad", "genes", "png", "mtx", "svm"]


@pytest.mark.filterwarnings("ignore")  # of libraries about what is damaged
@pytest.mark.parametrize("whole", FORMATS, indirect=True)
def test_damaged_files_are_data_errors_or_read(whole):
    """One byte in three hundred changed, and cut short: nothing but a DataError comes out."""
    path, part = whole
    damaged_file = path if part is None else path / part
    content = damaged_file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(content[: rng.integers(len(content) // 2, len(content) + 1)])
        for place in rng.integers(len(damaged), size=1 + len(damaged) // 300):
            damaged[place] = rng.integers(256)
        damaged_file.write_bytes(bytes(damaged))
        try:
            read_table(path, Reading(array="x" if path.suffix == ".mat" else None))
        except DataError:
            continue
