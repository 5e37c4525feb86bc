"""What a run makes at its end is a list, and a run's folder knows the files of each."""

from avi.run.products import PRODUCTS
from avi.rundir.folder import CONTENTS


def test_overwriting_a_run_removes_the_files_of_every_product():
    files = [name for product in PRODUCTS for name in product.files]
    assert len(files) == len(set(files))
    assert set(files) <= set(CONTENTS)
