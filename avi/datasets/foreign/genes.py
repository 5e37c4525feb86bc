"""A folder as 10x Genomics writes it: matrix.mtx, features.tsv, barcodes.tsv, packed or not."""

from collections import Counter
from pathlib import Path

from avi.datasets.columns import Raw, Reading
from avi.datasets.foreign.market import matrix_of
from avi.datasets.formats import read_unpacked

EXTRA = "anndata"


def read(path: Path, reading: Reading, limit: int) -> Raw:
    """Return cells by genes: the matrix in the folder has genes down and is turned."""
    del reading
    matrix, _ = matrix_of(_one_of(path, "matrix.mtx"), limit)
    height, width = matrix.shape
    genes = [line.split("\t") for line in _lines(_one_of(path, "features.tsv", "genes.tsv"), limit)]
    cells = _lines(_one_of(path, "barcodes.tsv"), limit)
    if (len(genes), len(cells)) != (height, width):
        raise ValueError(
            f"its matrix has {height} rows and {width} columns, but there are {len(genes)} genes "
            f"and {len(cells)} cells"
        )
    # The symbol where it is one gene's alone, else the identifier.
    symbols = Counter(gene[min(1, len(gene) - 1)] for gene in genes)
    names = tuple(
        symbol if symbols[symbol] == 1 else gene[0]
        for gene in genes
        for symbol in (gene[min(1, len(gene) - 1)],)
    )
    dress = (f"10x, {height} genes down and {width} cells across, turned",)
    return Raw(matrix.T, str(path), names, dress=dress, row_names=tuple(cells))


def _one_of(folder: Path, *names: str) -> Path:
    paths = [folder / f"{name}{packed}" for name in names for packed in ("", ".gz")]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise ValueError(f"there is no {' or '.join(names)} in it")
    return found


def _lines(path: Path, limit: int) -> list[str]:
    return read_unpacked(path, limit).decode("utf-8").splitlines()
