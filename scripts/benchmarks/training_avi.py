"""One epoch of `avi train experiment=mnist_vae` by its own loop, epoch after epoch."""

import sys

from worker import Unit, serve


def set_up() -> tuple[Unit, dict]:
    """Open the run's session, without a run folder."""
    from avi.config.compose import compose
    from avi.engine.loop import Loop
    from avi.randomness import key_for
    from avi.run.session import open_session

    words = ["experiment=mnist_vae", "train.epochs=100000", *sys.argv[1:]]
    session = open_session(compose(words)[0].tree)
    experiment = session.experiment
    loop = Loop(
        experiment.problem,
        session.optimizers,
        experiment.dataset.view,
        session.splits.train,
        key_for(experiment.seed, "train"),
        batch_size=session.batch_size,
        log_every=experiment.train.log_every,
    )
    num_steps = experiment.train.epochs * session.steps_per_epoch
    chunks = loop.fit(session.initial_state(), num_steps)

    def epoch() -> dict:
        values = []
        while len(values) < session.steps_per_epoch:
            values.extend(next(chunks).value)
        return {"steps": len(values), "loss": -sum(map(float, values)) / len(values)}

    return epoch, {}


if __name__ == "__main__":
    serve(set_up)
