"""What a component may offer beyond its protocol: one protocol each, asked for by `needs`.

Who has the methods has the ability. What a person reads where a component needs one in vain stands
with it, and so does the condition of one that holds for some pairs of model and family only. What
an ability is, and how one is asked for, is in `asking`; the other files say whose they are.
"""

from avi.abilities.asking import (
    ABILITIES,
    Ability,
    ability,
    explained,
    first_that_fits,
    missing,
    offers,
)
from avi.abilities.components import (
    Bidirectional,
    Bindable,
    Chooser,
    Documents,
    Drawn,
    Forgetful,
    Incomplete,
    PartlyIdle,
    StepLevel,
    Tellable,
    TrainsAnother,
    Weighted,
    masks,
)
from avi.abilities.families import (
    ConcaveEntropy,
    Displaceable,
    Enumerable,
    Holding,
    JointlyDrawn,
    KnownDensity,
    KnownEntropy,
    LocationScale,
    LogProportions,
    Natural,
    Noisy,
    Placeable,
    Reparametrised,
    SharedWeights,
    StandardNormalKL,
    Stratified,
    Unrestricted,
    draw_and_log_prob,
    drawn,
    given,
    psi_of,
)
from avi.abilities.latents import LowDimensional, Real
from avi.abilities.models import (
    ClosedForm,
    ClosedFormEM,
    Conjugate,
    Coordinate,
    Decodable,
    Emitting,
    Entrywise,
    Layered,
    LogConcave,
    ManyAtOnce,
    Maskable,
    NamedBound,
    Nominal,
    OpenLikelihood,
    OpenPrior,
    OwnUnits,
    Particular,
    Remarkable,
    Selective,
    Standardising,
    StandardNormalPrior,
    Tractable,
    is_standard,
)

__all__ = [
    # asking
    "ABILITIES", "Ability", "ability", "explained", "first_that_fits", "missing", "offers",
    # components
    "Bidirectional", "Bindable", "Chooser", "Documents", "Drawn", "Forgetful", "Incomplete",
    "PartlyIdle", "StepLevel", "Tellable", "TrainsAnother", "Weighted", "masks",
    # families
    "ConcaveEntropy", "Displaceable", "Enumerable", "Holding", "JointlyDrawn", "KnownDensity",
    "KnownEntropy", "LocationScale", "LogProportions", "Natural", "Noisy", "Placeable",
    "Reparametrised", "SharedWeights", "StandardNormalKL", "Stratified", "Unrestricted",
    "draw_and_log_prob", "drawn", "given", "psi_of",
    # latents
    "LowDimensional", "Real",
    # models
    "ClosedForm", "ClosedFormEM", "Conjugate", "Coordinate", "Decodable", "Emitting", "Entrywise",
    "Layered", "LogConcave", "ManyAtOnce", "Maskable", "NamedBound", "Nominal", "OpenLikelihood",
    "OpenPrior", "OwnUnits", "Particular", "Remarkable", "Selective", "Standardising",
    "StandardNormalPrior", "Tractable", "is_standard",
]  # fmt: skip
