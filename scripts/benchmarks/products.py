"""The matrix products of one training step and nothing else: the ceiling of a framework.

`products.py jax|avi|torch <batch>`, avi being jax with the compiler options of `avi train` and its
cutting of products; one unit runs each product often enough to be timed.
"""

import sys
import time

from worker import Unit, serve

LAYERS = ((784, 200), (200, 200), (200, 100), (50, 200), (200, 200), (200, 784))
REPEATS = 50
SQUARE = 2048  # the product whose speed stands for the machine's


def shapes(batch: int) -> list[tuple[str, int, int]]:
    """Return (kind, inputs, outputs) of every product of forward and backward pass."""
    kinds = [(kind, *layer) for layer in LAYERS for kind in ("forward", "weights", "inputs")]
    kinds.remove(("inputs", *LAYERS[0]))  # nothing asks for the gradient in x
    return kinds


def flops(batch: int) -> float:
    """Return those of one step."""
    return sum(2.0 * batch * inputs * outputs for _, inputs, outputs in shapes(batch))


def jax_products(batch: int, jit=None):
    """Return one timed function per product."""
    import jax
    import jax.numpy as jnp

    jit = jit or jax.jit

    products = {
        "forward": (lambda x, w, g: x @ w),
        "weights": (lambda x, w, g: x.T @ g),
        "inputs": (lambda x, w, g: g @ w.T),
    }

    def timed(kind, inputs, outputs, batch=batch):
        product = products[kind]
        x, w, g = (
            jax.random.normal(jax.random.key(n), shape)
            for n, shape in enumerate(((batch, inputs), (inputs, outputs), (batch, outputs)))
        )

        @jit
        def repeat(x, w, g, times):
            def body(_, carry):
                x, g, _ = carry
                out = product(x, w, g)
                # The operands move a little with the result: else XLA computes the product once.
                nudge = 1e-30 * out[0, 0]
                return x.at[0, 0].add(nudge), g.at[0, 0].add(nudge), out

            return jax.lax.fori_loop(0, times, body, (x, g, jnp.zeros_like(product(x, w, g))))

        def run(times=REPEATS):
            jax.block_until_ready(repeat(x, w, g, times))

        run(1)
        return run

    return [timed(*shape) for shape in shapes(batch)], timed("forward", SQUARE, SQUARE, SQUARE)


def avi_products(batch: int):
    """Return one timed function per product."""
    import jax

    from avi.engine.devices import for_products
    from avi.engine.short_products import share_products

    def jit(function):
        return jax.jit(share_products(function), compiler_options=for_products())

    return jax_products(batch, jit)


def torch_products(batch: int):
    """Return one timed function per product."""
    import torch

    def timed(kind, inputs, outputs, batch=batch):
        x, w, g = (
            torch.randn(batch, inputs),
            torch.randn(inputs, outputs),
            torch.randn(batch, outputs),
        )
        left, right = {"forward": (x, w), "weights": (x.T, g), "inputs": (g, w.T)}[kind]
        out = left @ right

        def run(times=REPEATS):
            for _ in range(times):
                torch.mm(left, right, out=out)

        run(1)
        return run

    return [timed(*shape) for shape in shapes(batch)], timed("forward", SQUARE, SQUARE, SQUARE)


def set_up() -> tuple[Unit, dict]:
    """Return one pass over all products."""
    framework, batch = sys.argv[1], int(sys.argv[2])
    make = {"jax": jax_products, "avi": avi_products, "torch": torch_products}[framework]
    products, square = make(batch)

    def unit() -> dict:
        started = time.perf_counter()
        for run in products:
            run()
        step_seconds = (time.perf_counter() - started) / REPEATS
        started = time.perf_counter()
        square(1)
        return {
            "step_seconds": step_seconds,
            "gigaflops": flops(batch) / step_seconds / 1e9,
            "machine_gigaflops": 2.0 * SQUARE**3 / (time.perf_counter() - started) / 1e9,
        }

    return unit, {"flops_per_step": flops(batch)}


if __name__ == "__main__":
    serve(set_up)
