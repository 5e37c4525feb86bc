"""Some steps of `avi train` on N rows by its own loop: `scale_avi.py <rows.npy> <mode>`."""

import resource
import sys

from worker import Unit, serve

STEPS = 2000
WORDS = (
    "dataset=file dataset.support=binary likelihood=bernoulli model=vae model.latent_size=10 "
    "dataset.shuffle=false train.batch_size=128 train.log_every=50 train.epochs=1000000000"
).split()


def set_up() -> tuple[Unit, dict]:
    """Open the run's session, without a run folder."""
    import jax
    import numpy as np

    from avi.config.compose import compose
    from avi.engine.loop import Loop
    from avi.randomness import key_for
    from avi.run.session import open_session

    path, mode = sys.argv[1:]
    held_out = 500 / len(np.load(path, mmap_mode="r"))
    fractions = (f"dataset.valid_fraction={held_out}", f"dataset.test_fraction={held_out}")
    words = [*WORDS, f"dataset.path={path}", f"inference={mode}", *fractions]
    session = open_session(compose(words)[0].tree)
    experiment, state = session.experiment, session.initial_state()
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    loop = Loop(
        experiment.problem,
        session.optimizers,
        experiment.dataset.view,
        session.splits.train,
        key_for(0, "train"),
        batch_size=session.batch_size,
        log_every=experiment.train.log_every,
    )
    chunks = loop.fit(state, 2**31 - 1)

    def some_steps() -> dict:
        steps = 0
        while steps < STEPS:
            steps += len(next(chunks).value)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"steps": steps, "peak_bytes": peak}

    return some_steps, {"state_bytes": state_bytes, "num_data": session.spec.num_data}


if __name__ == "__main__":
    serve(set_up)
