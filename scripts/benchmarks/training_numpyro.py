"""The same VAE by NumPyro's SVI: in a scan, as its VAE example runs it, or step by step."""

import sys

from worker import Unit, serve


def set_up() -> tuple[Unit, dict]:
    """Return one epoch of training."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import numpyro
    import numpyro.distributions as dist
    from jax import lax, random
    from jax.example_libraries import stax
    from numpyro.infer import SVI, Trace_ELBO

    file, style, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    train = np.load(file).astype(np.float32) / 255
    closed_over = jnp.asarray(train)  # as the example's data set is
    num_steps = len(train) // size
    hidden = (stax.Dense(200), stax.Tanh, stax.Dense(200), stax.Tanh)
    moments = stax.parallel(stax.Dense(50), stax.serial(stax.Dense(50), stax.Exp))
    encoder = stax.serial(*hidden, stax.FanOut(2), moments)
    # The example ends in a sigmoid; logits are the faster way that NumPyro offers.
    ends = (stax.Dense(784), stax.Sigmoid) if style == "example" else (stax.Dense(784),)
    decoder = stax.serial(*hidden, *ends)
    bernoulli = dist.BernoulliProbs if style == "example" else dist.BernoulliLogits

    def model(batch):
        decode = numpyro.module("decoder", decoder, (size, 50))
        with numpyro.plate("batch", size):
            z = numpyro.sample("z", dist.Normal(0, 1).expand([50]).to_event(1))
            numpyro.sample("x", bernoulli(decode(z)).to_event(1), obs=batch)

    def guide(batch):
        encode = numpyro.module("encoder", encoder, (size, 784))
        mean, scale = encode(batch)
        with numpyro.plate("batch", size):
            numpyro.sample("z", dist.Normal(mean, scale).to_event(1))

    svi = SVI(model, guide, numpyro.optim.Adam(1e-3), Trace_ELBO())
    state = svi.init(random.key(0), jnp.asarray(train[:size]))

    def update(state, key, index, data):
        return svi.update(state, random.bernoulli(key, data[index]).astype(jnp.float32))

    @jax.jit
    def scanned(state, key, data):
        order_key, key = random.split(key)
        order = random.permutation(order_key, len(data))[: num_steps * size]

        def body(state, step):
            number, index = step
            return update(state, random.fold_in(key, number), index, data)

        steps = (jnp.arange(num_steps), order.reshape(num_steps, size))
        return lax.scan(body, state, steps)

    @jax.jit
    def looped(state, key, order):
        def body(number, carry):
            loss_sum, state = carry
            index = lax.dynamic_slice_in_dim(order, number * size, size)
            state, loss = update(state, random.fold_in(key, number), index, closed_over)
            return loss_sum + loss, state

        loss, state = lax.fori_loop(0, num_steps, body, (0.0, state))
        return state, loss / num_steps

    generator = np.random.default_rng(0)
    resident = jax.device_put(train)
    single = jax.jit(update)
    epochs = 0

    def epoch() -> dict:
        nonlocal state, epochs
        key = random.fold_in(random.key(1), epochs)
        epochs += 1
        if style == "scan":
            state, losses = scanned(state, key, resident)
        elif style == "example":
            state, losses = looped(state, key, generator.permutation(len(train)))
        else:
            order = generator.permutation(len(train))[: num_steps * size].reshape(-1, size)
            for number, index in enumerate(order):
                state, losses = single(state, random.fold_in(key, number), index, resident)
        return {"steps": num_steps, "loss": float(np.mean(losses)) / size}

    return epoch, {}


if __name__ == "__main__":
    serve(set_up)
