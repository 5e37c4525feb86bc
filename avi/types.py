"""The vocabulary of avi: protocols, results and the glossary.

Everything is q(z | x; phi): an *inference mode* maps one observation to one flat vector lam, a
*family* turns lam into a distribution over z, a *model* scores (x, z), an *objective* turns scores
into a bound on log p(x). Components are frozen dataclasses of hyperparameters; arrays travel in
pytrees; every method sees ONE datapoint and the caller vmaps.

Glossary
--------
theta   model parameters (for conjugate models: natural parameters of q(globals))
phi     inference parameters: network weights, or a table with one row per datapoint
psi     weights of a family, shared by all datapoints and trained beside phi; most have none
lam     unconstrained variational parameters of one datapoint, float[P]
x       one observation, any pytree: what the bound scores
z       one latent, float[D] (or an integer for space "category")
N B S D P K   data, batch, draws, latent size, size of lam, inner steps
bound   any lower bound on log p(x), in nats per datapoint, to be maximised

ELBO, evidence log p(x), approximation, amortization and inference gap as in Cremer, Li & Duvenaud
(2018), "Inference Suboptimality in Variational Autoencoders".
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

# Pytrees of arrays; what is in them is the component's own business.
Theta = Any
Phi = Any
Psi = Any
X = Any
Z = Float[Array, " D"] | Int[Array, ""]
Lam = Float[Array, " P"]
Scalar = Float[Array, ""]
PRNGKey = Key[Array, ""]

Space = str  # "real", "simplex", "category", or one that a model and a family of one's own share
Kind = Literal["exact", "lower", "upper", "none"]  # what an estimate of log p(x) is of it
# terms: x is a bag of words; any: numbers, of which the model itself knows more.
Support = Literal["binary", "unit", "count", "positive", "real", "terms", "any"]


class Latent(NamedTuple):
    """Where a latent lives: R^size, the simplex of `size` parts, or one category of `size`."""

    space: Space
    size: int


class Params(NamedTuple):
    """Something for theta, phi and psi: parameters, optimisers or optimiser states.

    Where the family has no weights nothing stands for psi. One optimiser moves phi and psi.
    """

    theta: Any
    phi: Any
    psi: Any = ()


class Bound(NamedTuple):
    """One datapoint's bound in nats: log `value`, differentiate `surrogate`."""

    value: Scalar
    surrogate: Scalar


class Estimate(NamedTuple):
    """An estimate of log p(x) in nats and what is known of its quality (NaN where undefined)."""

    value: Scalar
    standard_error: Scalar
    ess: Scalar  # effective sample size of the importance weights
    khat: Scalar  # Pareto shape of their tail
    apart: Scalar  # nats beyond noise by which another start finds more


class DataSpec(NamedTuple):
    """What a model may know of its data before it has seen a batch."""

    example: X  # one x
    mean: X  # the mean of x over the training split
    support: Support
    num_data: int  # N, training rows
    sample: X = None  # up to 1000 training x, leading axis: seeds for models that start from data


Separator = Literal["comma", "semicolon", "tab"]  # of the cells of a text
Decimal = Literal["dot", "comma"]


class Layout(NamedTuple):
    """Which columns of a person's table are x: how new rows of the same table are read."""

    kept: Bool[np.ndarray, " W"]  # by column of the file
    left_out: tuple[str, ...] = ()  # names of the others
    separator: Separator | None = None  # of a text, as it was understood
    decimal: Decimal | None = None


class Scale(NamedTuple):
    """Mean and standard deviation of every column of x over the training rows."""

    mean: Float[np.ndarray, " D"]
    deviation: Float[np.ndarray, " D"]  # 1 where a column does not vary


class Origin(NamedTuple):
    """Where rows stand in the files of the person who brought them; None where nothing is known."""

    rows: Int[np.ndarray, " N"] | None = None  # of every row id: the user's row, counted from 0
    columns: tuple[str, ...] | None = None  # names, in the order of x
    documents: tuple[str, ...] | None = None  # names, of rows of a table too, by the user's row
    layout: Layout | None = None  # of the user's own table

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """Return the user's rows of these ids; the ids themselves where nothing else is known."""
        return ids if self.rows is None else self.rows[ids]

    def id_of(self, row: int) -> int:
        """Return the id of one of the user's rows."""
        return row if self.rows is None else int(np.flatnonzero(self.rows == row)[0])


class Splits(NamedTuple):
    """Rows as stored (compact dtypes, leading axis N); train, valid and test share one structure.

    Row ids count through the splits: training rows are 0..N-1, then validation, then test rows.
    """

    train: PyTree[np.ndarray]
    valid: PyTree[np.ndarray]
    test: PyTree[np.ndarray]
    labels: dict[str, np.ndarray] | None = None  # split -> class labels, for figures only
    vocabulary: tuple[str, ...] | None = None  # of term ids, where x is a bag of words
    origin: Origin = Origin()
    # Split -> (words of its documents that training has never seen, words in all); left out.
    unseen: Mapping[str, tuple[int, int]] = MappingProxyType({})
    remarks: tuple[str, ...] = ()  # what a person should know of these data
    understood: tuple[str, ...] = ()  # how a person's own file was read, a line each
    scale: Scale | None = None  # by which models and encoders see x standardised


class Target(NamedTuple):
    """p(x, . ; theta) at one x: what objectives and evidence estimators see."""

    model: "Model"
    theta: Theta
    x: X


class Local(NamedTuple):
    """One datapoint's variational problem."""

    target: Target
    family: "Family"  # at its weights psi, if it has any
    objective: "Objective"

    def bound(self, lam: Lam, key: PRNGKey) -> Bound:
        """Return the bound at `lam`, estimated with the objective's number of draws."""
        return self.objective(self.target, self.family, lam, key)


class Model(Protocol):
    """A latent-variable model p(x, z; theta) with one latent per observation."""

    @property
    def latent(self) -> Latent: ...
    @property
    def support(self) -> Support: ...  # of its likelihood
    def init(self, key: PRNGKey, data: DataSpec) -> Theta: ...
    def log_joint(self, theta: Theta, x: X, z: Z) -> Scalar: ...
    def log_prior(
        self, theta: Theta
    ) -> Scalar: ...  # once per data set: 0, log p(theta), or -KL(q(theta) || p(theta))
    def sample(
        self, theta: Theta, key: PRNGKey, like: X
    ) -> tuple[Z, X]: ...  # `like` keeps side information


class Family(Protocol):
    """A set of distributions q(z; lam), a pure function of the flat vector lam (and of psi).

    It has a density, `log_prob`, or knows it of what it draws (`avi.abilities`).
    """

    @property
    def latent(self) -> Latent: ...
    @property
    def num_params(self) -> int: ...
    def init(self) -> Lam: ...  # the standard member, e.g. N(0, I)
    def sample(self, lam: Lam, key: PRNGKey) -> Z: ...
    def mean(self, lam: Lam) -> Array: ...  # E[z], float[D]; for a category its probabilities
    def standard_deviation(self, lam: Lam) -> Array: ...


class Objective(Protocol):
    """A bound on log p(x) together with ONE estimator of it."""

    @property
    def needs(self) -> tuple[type, ...]: ...  # abilities of the model or the family

    @property
    def bound_name(self) -> str: ...  # of what it estimates, e.g. ELBO

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Bound: ...
    def evaluations(self, family: Family) -> int: ...  # of log p(x, z) in one call


class Refine(Protocol):
    """A local optimiser: ascend one datapoint's bound in lam, theta and x fixed."""

    @property
    def needs(self) -> tuple[type, ...]: ...  # abilities of the model or the family

    @property
    def steps(self) -> int: ...  # K
    def init(self, local: Local, lam: Lam) -> PyTree: ...
    def step(self, local: Local, state: PyTree, key: PRNGKey) -> PyTree: ...
    def estimate(self, state: PyTree) -> Lam: ...  # where the steps so far lead
    def __call__(self, local: Local, lam: Lam, key: PRNGKey) -> Lam: ...  # all K steps


class Inference(Protocol):
    """Where lam comes from: the only thing in which the modes differ."""

    @property
    def needs(self) -> tuple[type, ...]: ...  # abilities of the model or the family

    per_datapoint: ClassVar[bool]  # phi is a table, one row per datapoint

    def init(self, key: PRNGKey, family: Family, x: X, num_data: int) -> Phi: ...
    def infer(
        self, phi: Phi, x: X, key: PRNGKey, local: Local
    ) -> Lam: ...  # phi is the own row if per_datapoint
    def unseen(self) -> "Inference": ...  # the mode for an observation outside the training set
    def inner_calls(
        self,
    ) -> int: ...  # differentiations of the bound inside `infer`, for one datapoint


class Evidence(Protocol):
    """An estimator of log p(x): `exact`, or a stochastic `lower` or `upper` bound."""

    @property
    def needs(self) -> tuple[type, ...]: ...  # abilities of the model or the family

    kind: ClassVar[Kind]

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate: ...


class Dataset(Protocol):
    """Rows, and the view of a row that the bound scores.

    `view(row, index, visit)` unpacks, scales, binarises or masks one stored row. Its randomness
    folds in the row's id and, only if the view redraws, the visit (the training step).
    """

    @property
    def support(self) -> Support: ...
    @property
    def redraws(self) -> bool: ...  # a row looks different at every visit
    @property
    def image_shape(self) -> tuple[int, ...] | None: ...
    def load(self) -> Splits: ...
    def view(self, row: PyTree, index: Int[Array, ""], visit: Int[Array, ""]) -> X: ...
    def fixed(self) -> "Dataset": ...  # one recorded draw per row: what reports score


class Network(Protocol):
    """A function from one x to `num_outputs` numbers, with parameters in a plain dict."""

    def init(
        self, key: PRNGKey, x: X, output_bias: Float[Array, " num_outputs"]
    ) -> dict[str, Any]: ...
    def apply(
        self, params: dict[str, Any], x: X, num_outputs: int
    ) -> Float[Array, " num_outputs"]: ...


class Prior(Protocol):
    """A density of z with parameters of its own, {} if it has none."""

    standard: ClassVar[bool]  # it is N(0, I)

    def init(self, key: PRNGKey) -> dict[str, Any]: ...
    def log_prob(self, params: dict[str, Any], z: Z) -> Scalar: ...
    def sample(self, params: dict[str, Any], key: PRNGKey, size: int) -> Z: ...


class Likelihood(Protocol):
    """A density of one x given `num_outputs(size)` numbers from a network.

    They come in the shape of x, where there are k for each of its entries as [k, *x.shape].
    """

    @property
    def support(self) -> Support: ...
    def num_outputs(self, size: int) -> int: ...
    def init(self, size: int) -> dict[str, Array]: ...  # its own parameters
    def output_bias(self, mean: Array) -> Array: ...  # network outputs whose mean of x is `mean`
    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar: ...
    def mean(self, params: dict[str, Array], outputs: Array) -> Array: ...
    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array: ...
    def remarks(
        self, params: dict[str, Array]
    ) -> list[str]: ...  # what a report should say of them
