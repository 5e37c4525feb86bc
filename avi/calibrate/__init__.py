"""Whether q(z | x) means what it says, on rows whose z is known: simulation-based calibration."""

from avi.calibrate.measure import calibration

__all__ = ["calibration"]
