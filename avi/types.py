"""The vocabulary of avi: protocols, results and the glossary.

Everything is q(z | x; phi): an *inference mode* maps one observation to one flat vector lam, a
*family* turns lam into a distribution over z, a *model* scores (x, z), an *objective* turns scores
into a bound on log p(x). Components are frozen dataclasses of hyperparameters; arrays travel in
pytrees; every method sees ONE datapoint and the caller vmaps.

Glossary
--------
theta   model parameters (for conjugate models: natural parameters of q(globals))
phi     inference parameters: network weights, or a table with one row per datapoint
lam     unconstrained variational parameters of one datapoint, float[P]
x       one observation, any pytree: what the bound scores
z       one latent, float[D] (or an integer for space "category")
N B S D P K   data, batch, draws, latent size, size of lam, inner steps
bound   any lower bound on log p(x), in nats per datapoint, to be maximised

ELBO, evidence log p(x), approximation, amortization and inference gap as in Cremer, Li & Duvenaud
(2018), "Inference Suboptimality in Variational Autoencoders".
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

# Pytrees of arrays; what is in them is the component's own business.
Theta = Any
Phi = Any
X = Any
Z = Float[Array, " D"] | Int[Array, ""]
Lam = Float[Array, " P"]
Scalar = Float[Array, ""]
PRNGKey = Key[Array, ""]

Space = Literal["real", "simplex", "category"]
Kind = Literal["exact", "lower", "upper", "none"]  # what an estimate of log p(x) is of it
Support = Literal["binary", "unit", "count", "real", "terms"]  # terms: x is a bag of words


class Latent(NamedTuple):
    """Where a latent lives: R^size, the simplex of `size` parts, or one category of `size`."""

    space: Space
    size: int


class Params(NamedTuple):
    """Something for theta and something for phi: parameters, optimisers or optimiser states."""

    theta: Any
    phi: Any


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


class DataSpec(NamedTuple):
    """What a model may know of its data before it has seen a batch."""

    example: X  # one x
    mean: X  # the mean of x over the training split
    support: Support
    num_data: int  # N, training rows
    sample: X = None  # up to 1000 training x, leading axis: seeds for models that start from data


class Splits(NamedTuple):
    """Rows as stored (compact dtypes, leading axis N); train, valid and test share one structure.

    Row ids count through the splits: training rows are 0..N-1, then validation, then test rows.
    """

    train: PyTree[np.ndarray]
    valid: PyTree[np.ndarray]
    test: PyTree[np.ndarray]
    labels: dict[str, np.ndarray] | None = None  # split -> class labels, for figures only
    vocabulary: tuple[str, ...] | None = None  # of term ids, where x is a bag of words


class Target(NamedTuple):
    """p(x, . ; theta) at one x: what objectives and evidence estimators see."""

    model: "Model"
    theta: Theta
    x: X


class Local(NamedTuple):
    """One datapoint's variational problem."""

    target: Target
    family: "Family"
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


@runtime_checkable
class Tractable(Protocol):
    """a model with an exact log evidence."""

    def log_evidence(self, theta: Theta, x: X) -> Scalar: ...


@runtime_checkable
class StandardNormalPrior(Protocol):
    """a model with prior z ~ N(0, I)."""

    def log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar: ...


@runtime_checkable
class LogConcave(Protocol):
    """a model with prior z ~ N(0, I) and a likelihood that is log-concave in z."""

    def concave_log_likelihood(self, theta: Theta, x: X, z: Z) -> Scalar: ...


@runtime_checkable
class ClosedForm(Protocol):
    """a model whose ELBO under the family is known in closed form."""

    def elbo(self, theta: Theta, x: X, family: "Family", lam: Lam) -> Scalar: ...


@runtime_checkable
class NamedBound(Protocol):
    """a model that says which of several ELBOs its closed form is."""

    @property
    def bound_name(self) -> str: ...


@runtime_checkable
class Coordinate(Protocol):
    """a model with coordinate updates of lam."""

    # One update, which never lowers the bound; what does not depend on lam is computed once.
    def coordinate_update(self, theta: Theta, x: X, family: "Family") -> Callable[[Lam], Lam]: ...


@runtime_checkable
class Conjugate(Protocol):
    """a model whose theta is a conjugate distribution over its globals."""

    def mean_globals(self, theta: Theta) -> dict[str, Array]: ...  # E_q of each global


@runtime_checkable
class Decodable(Protocol):
    """a model that can decode z to the mean of x."""

    def decode(self, theta: Theta, z: Z, like: X) -> X: ...


@runtime_checkable
class Maskable(Protocol):
    """a model with a density of the entries of x that were seen, x = {"mask", "value"}."""

    def observed(self, x: X) -> tuple[Array, Array]: ...  # entries; 1 where seen, 0 where missing


@runtime_checkable
class Remarkable(Protocol):
    """a model with something to say about its trained parameters."""

    def remarks(self, theta: Theta) -> list[str]: ...


class Family(Protocol):
    """A set of distributions q(z; lam), a pure function of the flat vector lam."""

    @property
    def latent(self) -> Latent: ...
    @property
    def num_params(self) -> int: ...
    def init(self) -> Lam: ...  # the standard member, e.g. N(0, I)
    def sample(self, lam: Lam, key: PRNGKey) -> Z: ...
    def log_prob(self, lam: Lam, z: Z) -> Scalar: ...
    def entropy(self, lam: Lam, z: Z) -> Scalar: ...  # exact where known (z unused), else -log q(z)
    def mean(self, lam: Lam) -> Array: ...  # E[z], float[D]; for a category its probabilities
    def standard_deviation(self, lam: Lam) -> Array: ...


@runtime_checkable
class Reparametrised(Protocol):
    """a family with reparametrised draws z = transport(lam, eps)."""

    def noise(self, key: PRNGKey) -> Array: ...
    def transport(self, lam: Lam, eps: Array) -> Z: ...


@runtime_checkable
class StandardNormalKL(Protocol):
    """a family with a closed-form KL to N(0, I)."""

    def kl_to_standard_normal(self, lam: Lam) -> Scalar: ...


@runtime_checkable
class Enumerable(Protocol):
    """a family over a finite space."""

    def points(self) -> Array: ...  # every z, leading axis


@runtime_checkable
class Natural(Protocol):
    """a family with natural-gradient steps."""

    def natural_step(
        self, lam: Lam, gradient: Lam, rate: Scalar | float
    ) -> Lam: ...  # rate 1 solves a conjugate bound


@runtime_checkable
class LocationScale(Protocol):
    """a family of Gaussians z = m + C eps."""

    def member(self, mean: Array, deviation: Array) -> Lam: ...  # independent coordinates
    def displace(
        self, lam: Lam, step: Lam
    ) -> Lam: ...  # `step` in coordinates in which the Fisher matrix at lam is I
    def location_scale(self, lam: Lam) -> Array: ...  # the entries of (m, C), elementwise in lam


class Objective(Protocol):
    """A bound on log p(x) together with ONE estimator of it."""

    needs: ClassVar[tuple[type, ...]]

    @property
    def bound_name(self) -> str: ...  # of what it estimates, e.g. ELBO

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Bound: ...
    def evaluations(self, family: Family) -> int: ...  # of log p(x, z) in one call


class Refine(Protocol):
    """A local optimiser: ascend one datapoint's bound in lam, theta and x fixed."""

    needs: ClassVar[tuple[type, ...]]

    @property
    def steps(self) -> int: ...  # K
    def init(self, local: Local, lam: Lam) -> PyTree: ...
    def step(self, local: Local, state: PyTree, key: PRNGKey) -> PyTree: ...
    def estimate(self, state: PyTree) -> Lam: ...  # where the steps so far lead
    def __call__(self, local: Local, lam: Lam, key: PRNGKey) -> Lam: ...  # all K steps


class Inference(Protocol):
    """Where lam comes from: the only thing in which the modes differ."""

    needs: ClassVar[tuple[type, ...]]
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

    needs: ClassVar[tuple[type, ...]]
    kind: ClassVar[Kind]

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate: ...


@runtime_checkable
class Bidirectional(Protocol):
    """an estimator of log p(x) that has an upper bound too, where z ~ p(z | x) is known."""

    def __call__(self, target: Target, family: Family, lam: Lam, key: PRNGKey) -> Estimate: ...
    def upper(self, target: Target, family: Family, lam: Lam, z: Z, key: PRNGKey) -> Estimate: ...
    def doubled(self) -> "Bidirectional | None": ...  # twice the effort, None beyond its limit


@runtime_checkable
class Weighted(Protocol):
    """an estimator of log p(x) that is the log of a mean of importance weights."""

    @property
    def num_weights(self) -> int: ...  # of one estimate


@runtime_checkable
class Chooser(Protocol):
    """A component that stands for the best of several for a given model and family."""

    def choose(self, model: Model, family: Family) -> Any: ...


@runtime_checkable
class Bindable(Protocol):
    """An optimiser of lam that needs to know the family, e.g. the natural gradient."""

    needs: ClassVar[tuple[type, ...]]

    def bind(self, family: Family) -> Any: ...  # an optax.GradientTransformation


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


@runtime_checkable
class Incomplete(Protocol):
    """Data of which entries may be missing."""

    @property
    def masks(self) -> bool: ...  # x = {"mask", "value"}, value 0 where mask is 0


class Network(Protocol):
    """A function from one x to `num_outputs` numbers, with parameters in a plain dict."""

    def init(
        self, key: PRNGKey, x: X, output_bias: Float[Array, " num_outputs"]
    ) -> dict[str, Any]: ...
    def apply(
        self, params: dict[str, Any], x: X, num_outputs: int
    ) -> Float[Array, " num_outputs"]: ...


class Likelihood(Protocol):
    """A density of one x given `num_outputs(size)` numbers from a network."""

    @property
    def support(self) -> Support: ...
    def num_outputs(self, size: int) -> int: ...
    def init(self) -> dict[str, Array]: ...  # its own parameters
    def output_bias(self, mean: Array) -> Array: ...  # network outputs whose mean of x is `mean`
    def log_prob(self, params: dict[str, Array], outputs: Array, x: Array) -> Scalar: ...
    def mean(self, params: dict[str, Array], outputs: Array) -> Array: ...
    def sample(self, params: dict[str, Array], outputs: Array, key: PRNGKey) -> Array: ...
    def remarks(
        self, params: dict[str, Array]
    ) -> list[str]: ...  # what a report should say of them


class TrainState(NamedTuple):
    """What the next step needs, and nothing else."""

    step: Int[Array, ""]
    params: Params
    opt_state: Params


class StepMetrics(NamedTuple):
    """What a person wants to know of one step: the mean bound (nats) and whether all was finite."""

    value: Scalar
    variance: Scalar  # of the bound over the batch
    finite: Bool[Array, ""]


def missing(component: Any, model: Model, family: Family) -> list[type]:
    """Return the protocols that `component` needs and neither the model nor the family offers."""
    return [
        need
        for need in component.needs
        if not (isinstance(model, need) or isinstance(family, need))
    ]
