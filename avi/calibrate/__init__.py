"""Whether q(z | x) means what it says, on rows whose z is known: simulation-based calibration."""

from avi.calibrate.measure import calibration
from avi.process.rooms import make_callable

__all__ = ["calibration"]

make_callable(__name__)
