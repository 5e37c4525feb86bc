"""Some steps of NumPyro's SVI with a dense guide under subsampling: `scale_numpyro.py <rows.npy>`.

The decoder, the batch and the latent are those of scale_avi.py; the guide has a location and a
scale for every row, as AutoNormal has for a plate, and Adam moves all of them at every step.
"""

import resource
import sys

from worker import Unit, serve

STEPS, BATCH, LATENT, HELD_OUT = 200, 128, 10, 1000


def set_up() -> tuple[Unit, dict]:
    """Return a run of steps."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import numpyro
    import numpyro.distributions as dist
    from jax import lax, random
    from jax.example_libraries import stax
    from numpyro.distributions import constraints
    from numpyro.infer import SVI, Trace_ELBO

    rows = jax.device_put(np.load(sys.argv[1])[:-HELD_OUT])
    number, size = rows.shape
    decoder = stax.serial(stax.Dense(128), stax.Tanh, stax.Dense(size))

    def model(rows):
        decode = numpyro.module("decoder", decoder, (BATCH, LATENT))
        with numpyro.plate("rows", number, subsample_size=BATCH) as index:
            z = numpyro.sample("z", dist.Normal(0, 1).expand([LATENT]).to_event(1))
            x = rows[index].astype(jnp.float32)
            numpyro.sample("x", dist.BernoulliLogits(decode(z)).to_event(1), obs=x)

    def guide(rows):
        mean = numpyro.param("mean", jnp.zeros((number, LATENT)))
        scale = numpyro.param("scale", jnp.ones((number, LATENT)), constraint=constraints.positive)
        with numpyro.plate("rows", number, subsample_size=BATCH) as index:
            numpyro.sample("z", dist.Normal(mean[index], scale[index]).to_event(1))

    svi = SVI(model, guide, numpyro.optim.Adam(1e-3), Trace_ELBO())
    state = jax.jit(svi.init)(random.key(0), rows)
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))

    def scanned(state, rows):
        return lax.scan(lambda state, _: svi.update(state, rows), state, None, STEPS)

    scanned = jax.jit(scanned, donate_argnums=0)

    def some_steps() -> dict:
        nonlocal state
        state, losses = scanned(state, rows)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"steps": STEPS, "loss": float(losses[-1]), "peak_bytes": peak}

    return some_steps, {"state_bytes": state_bytes, "num_data": number}


if __name__ == "__main__":
    serve(set_up)
