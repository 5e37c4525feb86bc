import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from avi.report.figures.curves import smoothed
from avi.report.figures.latent import most_active
from avi.report.images import mosaic
from avi.report.wording import duration, milliseconds, plus_minus
from avi.results.record import Value


@pytest.mark.parametrize(
    ("mean", "error", "words"),
    [
        (-97.8412, 0.3141, "−97.8 ± 0.3"),
        (1.3171, 0.0812, "1.32 ± 0.08"),
        (0.00312, 0.00012, "0.00312 ± 0.00012"),
        (-541.7, 12.3, "−542 ± 12"),
        (1.0, 0.0, "1.000 ± <0.001"),
        (-0.001, 0.2, "0.0 ± 0.2"),
        (1e-9, 1e-9, "0.000000 ± <0.000001"),
        (2.5, float("nan"), "2.50"),
        (float("nan"), 0.1, "—"),
        (float("-inf"), 0.1, "—"),
    ],
)
def test_a_number_has_the_digits_that_its_error_deserves(mean, error, words):
    assert plus_minus(Value(mean, error)) == words


def test_times_are_said_in_the_unit_that_suits_them():
    assert [duration(value) for value in (0.24, 48.2, 185, 7800)] == [
        "0.2 s",
        "48 s",
        "3 min 5 s",
        "2 h 10 min",
    ]
    assert [milliseconds(value) for value in (0.0042, 0.21, 38.0, 4200.0)] == [
        "4.2 µs",
        "0.21 ms",
        "38 ms",
        "4.2 s",
    ]


def test_the_most_active_dimensions_are_those_whose_means_vary_most():
    means = np.random.default_rng(0).normal(size=(200, 5)) * np.array([0.1, 3.0, 0.2, 1.0, 2.0])
    assert most_active(means) == (1, 4)


@pytest.mark.parametrize("size", [1, 2, 39, 80, 401])
def test_smoothing_keeps_straight_lines_and_ends(size):
    # A centred mean of a straight line is the line itself; nothing is averaged across an end.
    line = np.linspace(-30, -20, size)
    np.testing.assert_allclose(smoothed(line), line, rtol=1e-12)


@pytest.mark.parametrize(("available", "columns"), [(1, 1), (7, 7), (20, 10), (24, 12), (90, 12)])
def test_a_mosaic_shows_as_many_images_as_fit(available, columns):
    pixels = imread(io.BytesIO(mosaic([np.zeros((available, 1, 1))], wide=1)))
    assert pixels.shape[1] == 2 * columns - 1


def test_a_mosaic_keeps_every_pixel_and_one_grey_scale():
    stack = np.arange(2 * 2 * 3, dtype=float).reshape(2, 2, 3)
    pixels = imread(io.BytesIO(mosaic([stack, stack / 2], wide=6)))  # one pixel each: scale 1
    assert pixels.shape == (2 + 1 + 2, 3 + 1 + 3, 4)
    # PNG has 8 bits: a grey level is within half a step of 1/255.
    np.testing.assert_allclose(pixels[:2, :3, 0], stack[0] / 11, atol=0.5 / 255)
    np.testing.assert_allclose(pixels[3:, 4:, 0], stack[1] / 22, atol=0.5 / 255)
    assert (pixels[2, :, 3] == 0).all()


def test_the_report_package_loads_neither_jax_nor_matplotlib():
    code = (
        "import sys, avi.report.run_page, avi.report.compare_page; "
        "print([name for name in ('jax', 'matplotlib', 'hydra') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
