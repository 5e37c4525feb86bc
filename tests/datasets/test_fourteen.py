"""The forms of fourteen files that people brought, made anew: each runs from one line.

What is asserted is what a person reads before training: how the file was understood, in at most
three lines, and what looks like a mistake in it.
"""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine

from avi.cli.main import run as avi

TRAIN = (
    "train dataset=file train.epochs=1 train.eval_points=0 train.batch_size=16 gap.num_points=0"
    " train.report=false model.latent_size=1"
).split()
LINEAR = "model=linear_gaussian"
COUNTS = "model=vae dataset.support=count likelihood=negative_binomial model.decoder.widths=[4]"
COUNTS += " inference.network.widths=[4]"
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()


def sheet(names, columns, mark=","):
    """Return a text of named columns."""
    lines = [names, *zip(*columns, strict=True)] if names else zip(*columns, strict=True)
    return "\n".join(mark.join(map(str, line)) for line in lines) + "\n"


def wine(encoding="utf-8", **renamed):
    """Return scikit-learn's wine with its names, encoded."""
    data = load_wine()
    names = [renamed.get(name, name) for name in data.feature_names]
    return sheet(names, data.data[::4].T.tolist()).encode(encoding)


def with_index():
    data = load_wine()
    names = ["Unnamed: 0", *data.feature_names, "target"]
    rows = data.data[::4]
    columns = [range(len(rows)), *rows.T.tolist(), data.target[::4]]
    return sheet(names, columns).encode()


def with_sentinels():
    rows = load_wine().data[::4]
    rows[::7, 3] = -999
    return sheet(load_wine().feature_names, rows.T.tolist()).encode()


def with_damaged_cells():
    """Excel took 9.566667 with its thousands marked."""
    rows = load_wine().data[:40, :6].astype(object)
    rows[-3:, 4] = [9.566666666667e14, 1.106666666667e14, 1.003333333333e14]
    return sheet(None, rows.T.tolist()).encode()


def economy():
    """Sixteen years with an observation number, like Longley's."""
    draws = np.random.default_rng(0)
    years = np.arange(1947, 1963)
    names = ['"Obs"', '"TOTEMP"', '"GNP"', '"YEAR"']
    columns = [range(1, 17), 60000 + draws.integers(0, 9000, 16), 234000 + 20000 * (years - 1947)]
    return sheet(names, [*columns, years]).encode()


def months():
    """Temperatures by month, the year first."""
    draws = np.random.default_rng(0)
    values = (24 + draws.normal(size=(12, 40))).round(3).tolist()
    return sheet(["YEAR", *MONTHS], [range(1950, 1990), *values]).encode()


def semicolons():
    draws = np.random.default_rng(0)
    names = ['"fixed acidity"', '"pH"', '"quality"']
    values = [draws.normal(7, 1, 30).round(1), draws.normal(3, 0.2, 30).round(2)]
    return sheet(names, [*values, draws.integers(3, 8, 30)], ";").encode()


def german():
    """Excel's export with decimal commas, which left the first line with points."""
    draws = np.random.default_rng(0)
    values = draws.normal(7, 1, (30, 3)).round(2)
    first, *others = sheet(None, values.T.tolist(), ";").splitlines()
    return "\n".join([first, *(line.replace(".", ",") for line in others)]).encode()


def penguins(dummies=False):
    draws = np.random.default_rng(0)
    number = 45
    kinds = np.array(["Adelie", "Chinstrap", "Gentoo"])[np.arange(number) % 3]
    bill = draws.normal(44, 5, number).round(1).astype(object)
    mass = draws.normal(4200, 800, number).round(0)
    sex = draws.choice(["male", "female"], number).astype(object)
    if dummies:
        flags = [kinds == kind for kind in np.unique(kinds)]
        names = ["bill_length_mm", "body_mass_g", *(f"species_{kind}" for kind in np.unique(kinds))]
        return sheet(names, [bill, mass, *flags]).encode()
    bill[3] = sex[3] = "NA"
    return sheet(["species", "bill_length_mm", "body_mass_g", "sex"], [kinds, bill, mass, sex])


def pixels():
    """A label, then grey bytes, as in competitions."""
    data = load_digits()
    rows = (data.data[:40] * 255 // 16).astype(int)
    names = ["label", *(f"pixel{number}" for number in range(64))]
    return sheet(names, [data.target[:40], *rows.T.tolist()]).encode()


def images(path):
    np.save(path, (load_digits().images[:40] * 255 // 16).astype(np.uint8))


def cells():
    draws = np.random.default_rng(0)
    rates = np.exp(draws.normal(0, 1, (40, 1)) + draws.normal(-1, 1, 12))
    counts = draws.negative_binomial(1.0, 1 / (1 + rates))
    return sheet([f"GENE{number}" for number in range(12)], counts.T.tolist()).encode()


SCALED = "Columns are standardised; bounds in your units (dataset.standardize=none: raw)."
FILES = {  # name -> (its content, the words, what is understood, a part of every remark)
    "economy.csv": (
        economy, LINEAR,
        ["economy.csv: 16 rows of 3 numbers; split by commas, header.",
         "Left out: Obs (row numbers; dataset.columns=all keeps it).", SCALED],
        ["column 'YEAR' counts the rows, from 1947"],
    ),
    "months.csv": (
        months, f"{LINEAR} dataset.drop=[YEAR]",
        ["months.csv: 40 rows of 12 numbers; split by commas, header.", SCALED], [],
    ),
    "index.csv": (
        with_index, f"{LINEAR} dataset.label=target",
        ["index.csv: 45 rows of 13 numbers; split by commas, header.",
         "Left out: Unnamed: 0 (row numbers; dataset.columns=all keeps it); labels: target (3).",
         SCALED], [],
    ),
    "label-and-pixels.csv": (
        pixels, f"{LINEAR} dataset.label=label",
        ["label-and-pixels.csv: 40 rows of 64 numbers; split by commas, header."],
        ["look like the grey values"],
    ),
    "semicolons.csv": (
        semicolons, LINEAR,
        ["semicolons.csv: 30 rows of 3 numbers; split by semicolons, header.", SCALED], [],
    ),
    "german.csv": (
        german, f"{LINEAR} dataset.header=false dataset.decimal=comma",
        ["german.csv: 30 rows of 3 numbers; split by semicolons, decimal comma, no header.",
         SCALED], [],
    ),
    "utf16.csv": (
        lambda: wine("utf-16"), LINEAR,
        ["utf16.csv: 45 rows of 13 numbers; split by commas, header, utf-16-le.", SCALED], [],
    ),
    "cp1252.csv": (
        lambda: wine("cp1252", alcohol="Größe (°)"), LINEAR,
        ["cp1252.csv: 45 rows of 13 numbers; split by commas, header, cp1252.", SCALED], [],
    ),
    "penguins.csv": (
        lambda: penguins().encode(),
        f"{LINEAR} dataset.label=species dataset.drop=[sex] dataset.missing=mask",
        ["penguins.csv: 45 rows of 2 numbers; split by commas, header.",
         "Labels: species (3); missing: 1 value in 1 column.", SCALED], [],
    ),
    "dummies.csv": (
        lambda: penguins(dummies=True), LINEAR,
        ["dummies.csv: 45 rows of 5 numbers; split by commas, header, True/False as 1/0.", SCALED],
        [],
    ),
    "sentinel.csv": (
        with_sentinels, f"{LINEAR} dataset.missing=[-999]",
        ["sentinel.csv: 45 rows of 13 numbers; split by commas, header, 7 times -999 missing.",
         "Missing: 7 values in 1 column.", SCALED], [],
    ),
    "damaged.csv": (
        with_damaged_cells, LINEAR,
        ["damaged.csv: 40 rows of 6 numbers; split by commas, no header.", SCALED],
        ["9.56667e+14 at line 38, column 5"],
    ),
    "images.npy": (
        None, f"{LINEAR} dataset.image_shape=[8,8]",
        ["images.npy: 40 rows of 64 numbers; an array of uint8."], ["look like the grey values"],
    ),
    "cells.csv": (
        cells, COUNTS, ["cells.csv: 40 rows of 12 numbers; split by commas, header."], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_each_form_is_understood_and_runs_from_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make, words, understood, remarks = FILES[name]
    if make is None:
        images(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(make())
    code = avi([*TRAIN, f"dataset.path={name}", *words.split(), "output=run"])
    shown = "".join(capsys.readouterr())
    assert code == 0, shown
    lines = shown.splitlines()
    assert lines[: len(understood)] == understood
    assert all(any(part in line for line in lines) for part in remarks), shown
    assert "ELBO, batches" in shown
