"""NumPyro functions as people write them, and some that avi cannot carry."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def factors(x):
    """Probabilistic principal components with priors on the weights and the noise."""
    weight = numpyro.sample("weight", dist.Normal(0, 1).expand([2, x.shape[-1]]).to_event(2))
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1).expand([2]).to_event(1))
        numpyro.sample("x", dist.Normal(z @ weight, noise).to_event(1), obs=x)


def subsampled(x):
    """The same, with a plate of fixed length of which a part is looked at."""
    weight = numpyro.sample("weight", dist.Normal(0, 1).expand([2, x.shape[-1]]).to_event(2))
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))
    with numpyro.plate("rows", 1000, subsample_size=50) as chosen:
        z = numpyro.sample("z", dist.Normal(0, 1).expand([2]).to_event(1))
        numpyro.sample("x", dist.Normal(z @ weight, noise).to_event(1), obs=x[chosen])


def autoencoder(x):
    """A Bernoulli decoder whose weights are parameters, with a constrained one among them."""
    first = numpyro.param("first", 0.3 * jnp.ones((2, 5)))
    second = numpyro.param("second", 0.1 * jnp.ones((5, x.shape[-1])))
    slope = numpyro.param("slope", jnp.ones(()), constraint=dist.constraints.positive)
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1).expand([2]).to_event(1))
        logits = slope * (jnp.tanh(z @ first) @ second)
        numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)


def rates(x):
    """Counts with a rate of their own: a negative binomial once the rate is integrated out."""
    shape = numpyro.param("shape", 2.5 * jnp.ones(()), constraint=dist.constraints.positive)
    with numpyro.plate("rows", len(x)):
        rate = numpyro.sample("rate", dist.Gamma(shape, 0.7))
        numpyro.sample("x", dist.Poisson(rate), obs=x[..., 0])


def shares(x):
    """Counts of three kinds with shares of their own on the simplex."""
    with numpyro.plate("rows", len(x)):
        share = numpyro.sample("share", dist.Dirichlet(jnp.array([0.8, 1.5, 2.0])))
        numpyro.sample("x", dist.Multinomial(6, probs=share), obs=x)


def clusters(x):
    """A Gaussian mixture whose only local site is the component."""
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))
    with numpyro.plate("components", 3):
        mean = numpyro.sample("mean", dist.Normal(0, 3).expand([2]).to_event(1))
    with numpyro.plate("rows", len(x)):
        component = numpyro.sample("component", dist.Categorical(weights))
        numpyro.sample("x", dist.Normal(mean[component], 0.5).to_event(1), obs=x)


def with_outliers(x):
    """A factor model in which a row may be an outlier: one continuous and one discrete site."""
    noise = numpyro.param("noise", jnp.array([0.4, 3.0]), constraint=dist.constraints.positive)
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        outlier = numpyro.sample("outlier", dist.Bernoulli(0.1))
        scale = noise[outlier.astype(int)]
        mean = jnp.stack([z, -z, 2 * z], axis=-1)
        numpyro.sample("x", dist.Normal(mean, scale[..., None]).to_event(1), obs=x)


def schools(y, sigma):
    """Eight schools: a row is a school with its measured effect and the error of that."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def voters(features, y):
    """A hierarchical logistic regression: a row is a group, with six answers in it."""
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    spread = numpyro.sample("spread", dist.HalfNormal(1))
    with numpyro.plate("groups", len(y)):
        level = numpyro.sample("level", dist.Normal(0, spread))
        logits = level[:, None] + slope * features
        numpyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)


def two_plates(x):
    """Two latents of different observations."""
    for name in ("first", "second"):
        with numpyro.plate(name, len(x)):
            z = numpyro.sample(f"z_{name}", dist.Normal(0, 1))
            numpyro.sample(f"x_{name}", dist.Normal(z, 1), obs=x[:, 0])


def no_plate(x):
    """Nothing says which sites belong to one observation."""
    z = numpyro.sample("z", dist.Normal(0, 1))
    numpyro.sample("x", dist.Normal(z, 1).expand(x.shape).to_event(2), obs=x)


def observed_outside(x):
    """A site with data that no plate holds."""
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
    numpyro.sample("x", dist.Normal(z.sum(), 1).expand(x.shape).to_event(2), obs=x)


def factored(x):
    """A density without a simulator."""
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        numpyro.factor("penalty", -jnp.abs(z - x[:, 0]))
        numpyro.sample("x", dist.Normal(z, 1), obs=x[:, 0])


def chosen_once(x):
    """A discrete global site."""
    kind = numpyro.sample("kind", dist.Bernoulli(0.5))
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(kind, 1))
        numpyro.sample("x", dist.Normal(z, 1), obs=x[:, 0])


def counted(x):
    """A discrete local site without a finite support."""
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        number = numpyro.sample("number", dist.Poisson(2.0))
        numpyro.sample("x", dist.Normal(z + number, 1), obs=x[:, 0])


def unobserved(x):
    """No data at all."""
    with numpyro.plate("rows", len(x)):
        numpyro.sample("z", dist.Normal(0, 1))


def computed(x):
    """Two sites observed at something computed from the data."""
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        numpyro.sample("a", dist.Normal(z, 1), obs=x[:, 0])
        numpyro.sample("b", dist.Normal(z, 1), obs=x[:, 1])


def centred(x):
    """What is observed depends on the mean over all rows."""
    slope = numpyro.param("slope", jnp.array(0.5))
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        mean = z + slope * (x[:, 1] - x[:, 1].mean())
        numpyro.sample("x", dist.Normal(jnp.stack([mean, z], -1), 1).to_event(1), obs=x)


def by_number(x):
    """A prior that depends on how many rows there are."""
    scale = numpyro.sample("scale", dist.HalfNormal(1 / len(x)))
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, scale))
        numpyro.sample("x", dist.Normal(z, 1), obs=x[:, 0])


def with_a_table(x):
    """Something is known of each row that is no argument."""
    errors = jnp.array([15.0, 10, 16, 11, 9, 11, 10, 18])[: len(x)]
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        numpyro.sample("x", dist.Normal(z, errors), obs=x[:, 0])


def panels(x):
    """A row of measurements, each with an effect of its own: a plate inside that of the rows."""
    with numpyro.plate("rows", len(x), dim=-2):
        level = numpyro.sample("level", dist.Normal(0, 1))
        with numpyro.plate("columns", x.shape[1], dim=-1):
            effect = numpyro.sample("effect", dist.Normal(level, 0.5))
            kind = numpyro.sample("kind", dist.Bernoulli(0.3))
            numpyro.sample("x", dist.Normal(effect + kind, 1), obs=x)


def scaled(x):
    """A likelihood to a power, which is no density."""
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        with numpyro.handlers.scale(scale=0.1):
            numpyro.sample("x", dist.Normal(z, 1), obs=x[:, 0])


def by_row(x):
    """A parameter for each row, which a table of theta would have to hold."""
    shift = numpyro.param("shift", jnp.zeros(len(x)))
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        numpyro.sample("x", dist.Normal(z + shift, 1), obs=x[:, 0])
