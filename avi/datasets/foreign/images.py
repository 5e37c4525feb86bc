"""A folder of PNG and JPEG images of one size, by Pillow; folders in it are classes."""

from pathlib import Path
from typing import Any

import numpy as np

from avi.datasets.columns import Raw, Reading
from avi.datasets.foreign import IMAGES, require_room
from avi.errors import DataError

EXTRA = "images"
GREY = ("1", "L")


def read(path: Path, reading: Reading, limit: int) -> Raw:
    """Return one row of bytes per image, in the order of their names."""
    from PIL import Image

    del reading
    classes = sorted(child for child in path.iterdir() if child.is_dir())
    folders = [path, *classes]
    paths = [one for folder in folders for one in sorted(folder.iterdir()) if _is_image(one)]
    first, size, grey = _look(Image, paths[0])
    require_room((len(paths), size[0], size[1], 1 if grey else 3), limit)
    rows = []
    for one in paths:
        _, its_size, its_grey = _look(Image, one)
        if its_size != size:
            raise DataError(
                f"{one} has {its_size[0]} x {its_size[1]} pixels, but {first} has {size[0]} x "
                f"{size[1]}. Make all images of one size."
            )
        grey = grey and its_grey
    for one in paths:
        with Image.open(one) as image:
            rows.append(np.asarray(image.convert("L" if grey else "RGB"), np.uint8).ravel())
    width, height = size
    shape = [height, width] if grey else [height, width, 3]
    dress = (
        f"{'grey' if grey else 'colour'} images of {height} x {width}, values 0 to 255",
        f"dataset.image_shape={str(shape).replace(' ', '')} draws them",
    )
    names = tuple(str(one.relative_to(path)) for one in paths)
    labels = np.array([one.parent.name for one in paths]) if classes else None
    return Raw(np.stack(rows), str(path), dress=dress, row_names=names, labels=labels)


def _is_image(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in IMAGES


def _look(library: Any, path: Path) -> tuple[Path, tuple[int, int], bool]:
    """Return the path, width and height, and whether an image is grey, from its header alone."""
    try:
        with library.open(path) as image:
            return path, image.size, image.mode in GREY
    except library.DecompressionBombError as error:
        raise ValueError(f"{path.name} unpacks to more pixels than an image of rows has") from error
