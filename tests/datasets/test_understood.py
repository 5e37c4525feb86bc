"""A file of one's own is understood before it is trained on, or asked about: nothing is guessed."""

import gzip
import lzma
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets.test_file import PLAIN

from avi.datasets.cells import Dress, read_sheet
from avi.datasets.columns import Reading
from avi.datasets.tables import read_again, read_table
from avi.errors import ConfigError, DataError

ROWS = np.random.default_rng(2).standard_normal((12, 3)).round(4)
NAMES = ("Größe", "b", "c")
SUGGESTED = Reading(columns=None)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def text_of(rows=ROWS, names=NAMES, mark=",", decimal="."):
    cells = [[f"{value:.10g}".replace(".", decimal) for value in row] for row in rows]
    lines = [*([names] if names else []), *cells]
    return "\n".join(mark.join(line) for line in lines) + "\n"


def write(content, name="rows.csv"):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Path(name)


def read(content, reading=SUGGESTED, name="rows.csv"):
    return read_table(write(content, name), reading)


def typed(reading, message):
    """Return the readings that a message offers, each as one would type it."""
    offers = []
    for words in message.split(" or "):
        found = dict(re.findall(r"dataset\.(\w+)=(\[[^\]]*\]|[\w.]*\w)", words))
        if not found:
            continue
        own = {key: found.pop(key) for key in ("header", "separator", "decimal") if key in found}
        if "header" in own:
            own["header"] = own["header"] == "true"
        split = {
            key: tuple(cell.strip('"') for cell in value[1:-1].split(","))
            for key, value in found.items()
            if value.startswith("[")
        }
        dress = replace(reading.dress, **own)
        offers.append(replace(reading, dress=dress, **{**found, **split}))
    return offers


# --- the form ---------------------------------------------------------------------------------

DRESSES = {
    "comma": (text_of(), "split by commas, header"),
    "semicolon": (text_of(mark=";"), "split by semicolons, header"),
    "tab": (text_of(mark="\t"), "split by tabs, header"),
    "no header": (text_of(names=None), "split by commas, no header"),
    "decimal comma": (text_of(mark=";", decimal=","), "split by semicolons, decimal comma"),
    "quoted": (re.sub(r"(-?\d+,\d+)", r'"\1"', text_of(decimal=",", mark=";")), "decimal comma"),
    "windows": (text_of().replace("\n", "\r\n"), "header"),
    "byte order mark": (text_of().encode("utf-8-sig"), "header"),
    "utf-16": (text_of().encode("utf-16"), "utf-16"),
    "utf-16 without a mark": (text_of().encode("utf-16-be"), "utf-16-be"),
    "cp1252": (text_of().encode("cp1252"), "cp1252"),
}


@pytest.mark.parametrize("name", DRESSES)
@pytest.mark.parametrize("packed", ["rows.csv", "rows.tsv.gz", "rows.csv.xz"])
def test_the_same_numbers_in_any_dress_are_the_same_and_the_dress_is_said(name, packed):
    content, said = DRESSES[name]
    content = content.encode() if isinstance(content, str) else content
    pack = {"gz": gzip.compress, "xz": lzma.compress}.get(packed[-2:], bytes)
    table = read(pack(content), name=packed)
    np.testing.assert_array_equal(table.rows, ROWS)
    assert table.columns == (None if name == "no header" else NAMES)
    assert said in table.understood[0]
    assert table.understood[0].startswith(f"{packed}: 12 rows of 3 numbers; ")
    assert all(len(line) <= 80 for line in table.understood)


def test_two_streams_in_one_file_are_both_read():
    first, second = text_of().encode()[:40], text_of().encode()[40:]
    for pack, name in ((gzip.compress, "rows.csv.gz"), (lzma.compress, "rows.csv.xz")):
        np.testing.assert_array_equal(read(pack(first) + pack(second), name=name).rows, ROWS)
        with pytest.raises(DataError, match="truncated|end-of-stream"):
            read(pack(first)[:-9], name=name)


@pytest.mark.parametrize(("pack", "ending"), [(gzip.compress, "gz"), (lzma.compress, "xz")])
def test_what_unpacks_to_more_than_the_limit_is_refused(pack, ending):
    path = write(pack(b"1,2\n" * 100_000), f"bomb.csv.{ending}")
    with pytest.raises(DataError, match="unpacks to more than 10000 bytes"):
        read_sheet(path, Dress(), Dress(), 10_000)


ASKED = {
    "thousands": ("a;b\n1,234;5,678\n9,111;2,222\n", {"1.234", "1234"}),
    "years": ("2001,2002,2003\n1.5,2.5,3\n2,3,4\n", {"1.5", "2001"}),
    "two years": ("1990,2000\n1.5,2.5\n2,3\n", {"1.5", "1990"}),
    "wavelengths": ("400.5,401,403\n.1,.2,.4\n.2,.5,.1\n", {"0.1", "400.5"}),
    "counted": ("0,1,2\n4,5,6\n7,8,9\n", {"4", "0"}),
    "years beside text": ("who,2001,2002\nu,1.5,2.5\nv,3.5,2\n", {"1.5", "2001"}),
    "dots over commas": ("7.4;0.7\n7,8;0,88\n7,9;0,76\n", {"7.8", "7.4"}),
}


@pytest.mark.parametrize("name", ASKED)
def test_where_two_readings_are_possible_both_ways_to_type_are_said_and_work(name):
    content, firsts = ASKED[name]
    with pytest.raises(DataError) as refusal:
        read(content)
    assert refusal.value.exit_code == 7
    offers = typed(SUGGESTED, str(refusal.value))
    assert len(offers) == 2
    sheets = [read_sheet(write(content), offer.dress, Dress(), 10_000) for offer in offers]
    numbers = [[one.values for one in sheet.columns if not one.texts] for sheet in sheets]
    assert {f"{columns[0][0]:g}" for columns in numbers} == firsts


def test_separators_that_split_alike_are_asked_about():
    with pytest.raises(DataError, match=r"dataset.separator=comma or dataset.separator=semicolon"):
        read("a,b;c\nd,e;f\n")


HEADERS = {
    "words over numbers, and years": ("id,2001,2002\n7,2,3\n5,4,6\n", ("id", "2001", "2002")),
    "as pandas writes no names": (",0,1\n0,2.5,3\n1,4,6\n", ("Unnamed: 0", "0", "1")),
    "numbers like the others": ("3,1,2\n1,2,3\n4,1,1\n", None),
    "truth values": ("True,False\nFalse,True\nTrue,True\n", None),
    "a line of text among text": ("u,1\nv,2\nw,3\n", None),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_is_seen_from_what_stands_below(name):
    content, names = HEADERS[name]
    sheet = read_sheet(write(content), Dress(), Dress(), 10_000)
    assert sheet.names == names


def test_truth_values_are_one_and_zero_and_do_not_mix_with_measurements():
    table = read("a,b\nTrue,1.5\nFALSE,2.5\ntrue,\n")
    np.testing.assert_array_equal(table.rows, [[1, 1.5], [0, 2.5], [1, np.nan]])
    assert "True/False as 1/0" in table.understood[0]
    assert "Missing: 1 value in 1 column" in table.understood[1]
    with pytest.raises(DataError, match="column 'a' holds 2 numbers and 1 time True or False"):
        read("a,b\nTrue,1\n2,2\n3,2\n")


# --- the columns ------------------------------------------------------------------------------

INDICES = {
    "from 0": ("k", np.arange(12)),
    "from 1": ("k", 1 + np.arange(12)),
    "called id": ("ID", np.random.default_rng(0).permutation(12)),
    "of pandas": ("", 40 + 3 * np.arange(12)),
    "of names": ("", [f"row {number}" for number in range(12)]),
}


@pytest.mark.parametrize("name", INDICES)
def test_what_counts_or_names_the_rows_is_left_out_and_kept_on_request(name):
    head, values = INDICES[name]
    lines = text_of(names=("a", "b", "c")).splitlines()
    content = "\n".join(f"{cell},{line}" for cell, line in zip([head, *values], lines, strict=True))
    table = read(content)
    np.testing.assert_array_equal(table.rows, ROWS)
    assert re.match(r"Left out: .* \(row (numbers|names); dataset", table.understood[1])
    assert "dataset.columns=all keeps it" in table.understood[1]
    if name == "of names":
        with pytest.raises(DataError, match="holds text"):
            read(content, Reading(columns="all"))
        return
    np.testing.assert_array_equal(read(content, Reading(columns="all")).rows[:, 0], values)


@pytest.mark.parametrize("values", [[1, 2, 3], [5.0, 6, 7, 8, 9, 10, 11, 12, 13, 14]])
def test_few_rows_and_other_beginnings_are_no_index_but_a_remark(values, tmp_path):
    rows = np.column_stack([values, np.cos(values)])
    data = replace(PLAIN, path=str(write(text_of(rows, ("t", "x")))), columns=None)
    splits = data.load()
    assert splits.origin.columns == ("t", "x")
    assert "column 't' counts the rows" in splits.remarks[0]
    assert "dataset.drop=[t]" in splits.remarks[0]
    assert not replace(data, columns=("t", "x")).load().remarks


def test_arrays_leave_their_index_out_too():
    np.save("rows.npy", np.column_stack([np.arange(12), ROWS]))
    np.testing.assert_array_equal(read_table(Path("rows.npy"), SUGGESTED).rows, ROWS)
    np.save("rows.npy", np.arange(12.0)[:, None])
    assert read_table(Path("rows.npy"), SUGGESTED).rows.shape == (12, 1)  # nothing else is there


PENGUINS = "species,bill,sex,year\nA,39.1,m,7\nA,NA,f,7\nB,40.3,,8\nB,41,f,9\n"


def test_all_columns_of_text_are_named_at_once_and_what_is_offered_works():
    with pytest.raises(DataError, match="columns species, sex hold text") as refusal:
        read(PENGUINS)
    offers = typed(SUGGESTED, str(refusal.value))
    assert [offer.label for offer in offers] == [None, "species"]
    for offer in offers:
        assert read(PENGUINS, offer).columns == ("bill", "year")
    assert read(PENGUINS, offers[1]).labels.tolist() == ["A", "A", "B", "B"]


def test_columns_are_chosen_dropped_and_carried_by_name_or_number():
    chosen = Reading(columns=("year", "bill"), index="species", label="sex")
    table = read(PENGUINS, chosen)
    assert table.columns == ("bill", "year")  # in the order of the file
    assert table.row_names == ("A", "A", "B", "B")
    assert table.labels.tolist() == ["m", "f", "", "f"]
    bare = text_of(names=None)
    np.testing.assert_array_equal(read(bare, replace(SUGGESTED, drop=(1,))).rows, ROWS[:, [0, 2]])
    named = read(text_of(names=("7", "b", "c")), Reading(columns=(7,), dress=Dress(header=True)))
    np.testing.assert_array_equal(named.rows, ROWS[:, :1])
    with pytest.raises(ConfigError, match=r"drop: .* has no column yaer.*Did you mean year\?"):
        read(PENGUINS, Reading(drop=("yaer",)))
    with pytest.raises(ConfigError, match="dataset.columns has bill, and so has dataset.drop"):
        read(PENGUINS, Reading(columns=("bill",), drop=("bill",)))


def test_labels_go_to_their_rows_and_a_column_called_label_is_pointed_out():
    labels = np.arange(12) % 3
    content = text_of(np.column_stack([ROWS, labels]), ("a", "b", "c", "label"))
    data = replace(PLAIN, path=str(write(content)))
    (remark,) = data.load().remarks
    assert "column 'label' looks like class labels" in remark
    assert "dataset.label=label" in remark
    splits = replace(data, label="label").load()
    assert not splits.remarks
    assert splits.train.shape[1] == 3
    assert "Labels: label (3)" in splits.understood[1]
    found = np.concatenate([splits.labels[name] for name in ("train", "valid", "test")])
    np.testing.assert_array_equal(found, labels[splits.origin.rows])


def test_a_file_of_an_earlier_run_is_read_as_then():
    """A recorded configuration without the new keys: every column, as it is."""
    rows = np.column_stack([np.arange(12), ROWS])
    splits = replace(PLAIN, path=str(write(text_of(rows, None))), shuffle=False).load()
    np.testing.assert_array_equal(np.concatenate(splits[:3]), rows)
    assert splits.scale is None


def test_the_scale_is_that_of_the_training_rows():
    rows = np.column_stack([ROWS, np.full(12, 7.0), 1e8 + 1e-3 * np.arange(12)])
    data = replace(PLAIN, path=str(write(text_of(rows, None))), standardize="columns")
    splits = data.load()
    # In single precision; a column that rounding alone moves has no scale.
    np.testing.assert_allclose(splits.scale.mean, splits.train.mean(0), rtol=1e-6)
    deviation = [*splits.train.std(0)[:3], 1, 1]
    np.testing.assert_allclose(splits.scale.deviation, deviation, rtol=1e-6)
    masked = replace(data, missing=(7.0,)).load()
    np.testing.assert_allclose(masked.scale.deviation, deviation, rtol=1e-6)
    assert masked.scale.mean[3] == 0
    assert replace(data, support="positive", path=str(write("1,2\n" * 5))).load().scale is None


def test_codes_are_missing_on_request_only():
    rows = ROWS.copy()
    rows[3, 1] = -999
    data = replace(PLAIN, path=str(write(text_of(rows))), shuffle=False)
    assert data.load().train[3, 1] == -999
    coded = replace(data, missing=(-999.0,))
    assert coded.masks
    assert coded.load().train[3].tolist() == [[1, rows[3, 0]], [0, 0], [1, rows[3, 2]]]
    assert "1 times -999 missing" in coded.load().understood[0]


def test_values_outside_the_support_in_one_column_name_what_to_leave_out():
    bits = np.column_stack([ROWS > 0, np.arange(12) % 7])
    data = replace(PLAIN, path=str(write(text_of(bits, None))), support="binary")
    with pytest.raises(DataError, match=r"dataset.drop=\[3\], or dataset.label=3") as refusal:
        data.load()
    assert "All are in this column" in str(refusal.value)
    assert replace(data, label=3).load().train.shape[1] == 3


# --- new data ---------------------------------------------------------------------------------


def test_new_data_are_read_by_name_whatever_else_they_have_and_whatever_their_dress():
    full = np.column_stack([np.arange(12), ROWS, np.arange(12) % 2])
    names = ("id", "a", "b", "c", "kind")
    trained = read(text_of(full, names), replace(SUGGESTED, label="kind"))
    layout, columns = trained.layout, trained.columns
    assert columns == ("a", "b", "c")
    new = {
        "the same": text_of(full, names),
        "reversed, in another dress": text_of(full[:, ::-1], names[::-1], ";", ","),
        "bare": text_of(ROWS, columns, "\t"),
        "an index of pandas": text_of(full[:, :4], ("", *columns)),
        "an index of its own": text_of(full[:, :4], ("number", *columns)),
        "no header": text_of(full, None),
        "no header, x alone": text_of(ROWS, None),
    }
    for name, content in new.items():
        found = read_again(write(content), SUGGESTED, layout, columns)
        np.testing.assert_array_equal(found.rows, ROWS, err_msg=name)
        assert bool(found.understood) == name.startswith("an index")
    with pytest.raises(DataError, match="Not known: kin"):
        read_again(write(text_of(full, (*names[:4], "kin"))), SUGGESTED, layout, columns)


def test_new_data_that_could_be_read_in_two_ways_are_read_as_those_of_training():
    trained = read(text_of(mark=";", decimal=","))
    new = write(f"{';'.join(NAMES)}\n1,234;2,345;3,456\n")
    found = read_again(new, SUGGESTED, trained.layout, trained.columns)
    assert found.rows.tolist() == [[1.234, 2.345, 3.456]]
