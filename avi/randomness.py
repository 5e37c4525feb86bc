"""One integer seed; every key is a function of it, of a purpose and of a step or a row's id.

Threefry-2x32 is the hash behind every random number here, on the host as on the device.
"""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl, threefry_prng_impl
from jaxtyping import Array, UInt32

from avi.types import PRNGKey

Words = Any  # uint32 arrays, of numpy or of jax


Purpose = Literal[
    "init",
    "train",
    "evaluate",
    "infer",
    "search",
    "certificate",
    "select",
    "score",
    "evidence",
    "figures",
    "audit",
    "simulate",
    "calibrate",
    "impute",
    "hide",
]
# The numbers are part of every recorded result: append, never reorder.
PURPOSES: tuple[Purpose, ...] = (
    "init",
    "train",
    "evaluate",
    "infer",
    "search",
    "certificate",
    "select",
    "score",
    "evidence",
    "figures",
    "audit",
    "simulate",
    "calibrate",
    "impute",
    "hide",
)


def threefry(key: tuple[Words, Words], counter: tuple[Words, Words]) -> tuple[Words, Words]:
    """Return the hash of uint32 words, 20 rounds (Salmon et al. 2011).

    Written with operators that numpy and jax share: a draw on the host is the one on the device.
    """
    words = (*key, key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    left, right = counter[0] + words[0], counter[1] + words[1]
    for group in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            left = left + right
            right = (right << np.uint32(turn)) | (right >> np.uint32(32 - turn))
            right = right ^ left
        left = left + words[(group + 1) % 3]
        right = right + words[(group + 2) % 3] + np.uint32(group + 1)
    return left, right


# Compiled as one where no other program contains them, or each of their hundred small operations
# would be compiled by itself.
@partial(jax.jit, static_argnames="shape", inline=True)
def _split(key: UInt32[Array, " 2"], shape: tuple[int, ...]) -> Array:
    """Return one key for each of the counters 0, 1, 2, ..., uint32[*shape, 2]."""
    counter = jnp.arange(np.prod(shape, dtype=int), dtype=jnp.uint32).reshape(shape)
    return jnp.stack(threefry((key[0], key[1]), (jnp.zeros_like(counter), counter)), axis=-1)


@partial(jax.jit, inline=True)
def _fold_in(key: UInt32[Array, " 2"], data: Any) -> Array:
    word = jnp.asarray(data).astype(jnp.uint32)
    return jnp.stack(threefry((key[0], key[1]), (jnp.zeros_like(word), word)))


# jax's own keys give the same numbers; on a CPU they split and fold in by a loop of small kernels,
# which a training step would feel.
UNROLLED = define_prng_impl(
    key_shape=(2,),
    seed=threefry_prng_impl.seed,
    split=_split,
    random_bits=threefry_prng_impl.random_bits,
    fold_in=_fold_in,
    name="unrolled_threefry2x32",
    tag="fry",
)


def for_simulators(key: PRNGKey) -> PRNGKey:
    """Return a key of the training loop as one that every distribution of jax takes."""
    return jax.random.wrap_key_data(jax.random.key_data(key), impl="threefry2x32")


def key_for(seed: int, purpose: Purpose) -> PRNGKey:
    """Return the root key of one purpose."""
    # Unrolled keys give the same numbers: their steps are faster, but they take longer to compile.
    impl = UNROLLED if purpose == "train" else "threefry2x32"
    return of_purpose(jax.random.key(seed, impl=impl), purpose)


def of_purpose(root: PRNGKey, purpose: Purpose) -> PRNGKey:
    """Return the key of one purpose from that of the seed."""
    return jax.random.fold_in(root, PURPOSES.index(purpose))
