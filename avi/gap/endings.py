"""How a search for lam* ended: the values name a row in gap/points.csv, the sentences explain."""

from enum import StrEnum


class Ending(StrEnum):
    """The end of one search."""

    CERTIFIED = "certified"
    DOUBLED = "doubled"
    UNCERTIFIED = "unconverged"
    BUDGET = "budget"
    CLOCK = "clock"
    NEGATIVE = "negative-certificate"
    SADDLE = "saddle"
    SATURATED = "saturated"
    BOUNDARY = "boundary"
    JUMPS = "jumps"
    TAILS = "tails"
    PRECISION = "precision"


SENTENCES = {
    Ending.CERTIFIED: "a fresh certificate says that less than the tolerance is left to gain.",
    Ending.DOUBLED: "curvature says nothing where the gradient is small, and twice the search "
    "gained less than the tolerance.",
    Ending.UNCERTIFIED: "no certificate was sure enough, and more may be left to gain.",
    Ending.BUDGET: "the search spent its budget, and more may be left to gain.",
    Ending.CLOCK: "there was no time to search to the end, and more may be left to gain.",
    Ending.NEGATIVE: "the certificate came out below zero beyond its noise: it cannot be believed.",
    Ending.SADDLE: "the bound bends upwards along a direction: better λ lie on both sides.",
    Ending.PRECISION: "the bound is so large that single precision cannot tell the tolerance: try "
    "precision=float64.",
    Ending.BOUNDARY: "q has shrunk to a point in some coordinate, or grown beyond all numbers: the "
    "best λ is not in the family, or is none that these numbers can hold.",
    Ending.JUMPS: "log p(x, z) jumps where q lies, or bends too fast: gradients do not see what it "
    "gains, and cannot certify.",
    Ending.TAILS: "the bound rests on draws of q too rare to be seen: its gradient lacks them, and "
    "it may have no mean at all.",
    Ending.SATURATED: "the gradient is exactly zero where nothing bends: it says nothing.",
}
