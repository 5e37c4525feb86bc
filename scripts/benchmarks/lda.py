"""Topics of the Associated Press: the bound reached, and the time to scikit-learn's.

  lda.py quality [--seeds 5]   held-out bound of SVI and of CAVI beside lda-c's EM
  lda.py speed [--seeds 5]     time to the final held-out bound of scikit-learn's online LDA
  lda.py stream [--documents 200000]   memory and time per minibatch as documents go by

The held-out bound is the full-document one of avi/run/topics.py for both sides, never timed. Both
sides run on one core, as n_jobs=1 does. AVI_DATA_DIR names the folder with ap/ap.tgz. `--write`
adds the results of `speed` to benchmarks.json.
"""

import argparse
import json
import os
import time
from statistics import mean, stdev

import harness

LDA_C = -364_619.71  # lda-c's EM, K = 20, alpha = 0.1, the same documents
K, ALPHA, ETA = 20, 0.1, 0.4


def main() -> None:
    """Run what is asked for and print one JSON object for each seed, then a summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("quality", "speed", "stream"), nargs="?", default="speed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="results of speed")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    {"quality": quality, "speed": speed, "stream": stream}[options.what](options)


def show(**facts) -> None:
    """Print facts as one line."""
    print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in facts.items()}))


def articles():
    """Return the splits of O8: 2000 articles for training, 246 held out."""
    from avi.datasets.ap import AssociatedPress

    return AssociatedPress(num_valid=0)


def parts(mode: str):
    """Return the problem, its optimisers and its batch size."""
    from avi.families.dirichlet import Dirichlet
    from avi.inference.free_form import FreeForm
    from avi.inference.refined import Refined
    from avi.inference.start import Start
    from avi.models.lda import LDA
    from avi.objectives.elbo import ClosedFormElbo
    from avi.optimizers.natural_gradient import NaturalGradient
    from avi.optimizers.robbins_monro import RobbinsMonro
    from avi.problem import Problem
    from avi.refine.coordinate import CoordinateAscent
    from avi.types import Params

    model = LDA(K, ALPHA, ETA, 1, "posterior")
    search = CoordinateAscent(steps=100, tolerance=1e-2)
    inference = FreeForm(search) if mode == "cavi" else Refined(Start(), search, False)
    theta = RobbinsMonro(0.0, 0.0, 5) if mode == "cavi" else RobbinsMonro(0.7, 1.0, 1)
    optimizers = Params(theta, NaturalGradient(1.0, 1.0, 0.0))
    return Problem(model, Dirichlet(K), inference, ClosedFormElbo()), optimizers


def chunks(mode, dataset, splits, seed, num_steps, **options):
    """Yield (state, seconds, processor seconds) of training so far; the first chunk compiles."""
    import jax

    from avi.datasets.base import describe
    from avi.engine.loop import Loop
    from avi.engine.step import init_state

    problem, optimizers = parts(mode)
    spec = describe(dataset, splits)
    params = jax.jit(lambda key: problem.init(key, spec))(jax.random.key(seed))
    state, key = init_state(problem, optimizers, params), jax.random.key(1000 + seed)
    began = time.process_time()
    loop = Loop(problem, optimizers, dataset.view, splits.train, key, **options)
    seconds = 0.0
    for chunk in loop.fit(state, num_steps):
        processor = time.process_time() - began
        seconds += chunk.seconds
        yield chunk, seconds, processor
        began = time.process_time() - processor  # what the caller does in between is not counted


def quality(options) -> None:
    """Print the held-out bound of every seed and mode beside lda-c's."""
    from avi.run.topics import held_out

    dataset = articles()
    splits = dataset.load()
    for mode, batch_size, num_steps in (("svi", 100, 20 * options.epochs), ("cavi", 2000, 400)):
        found = []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            run = chunks(
                mode, dataset, splits, seed,
                num_steps=num_steps, batch_size=batch_size, log_every=20,
            )  # fmt: skip
            *_, (last, seconds, _) = run
            full, completion = held_out(parts(mode)[0].model, last.state.params.theta, splits.test)
            found.append(full.nats)
            show(
                mode=mode, seed=seed, nats=full.nats, perplexity=full.perplexity,
                completion=completion.perplexity, seconds=seconds,
                above_lda_c_percent=100 * (full.nats / LDA_C - 1) * -1,
            )  # fmt: skip
        show(
            mode=mode, seeds=options.seeds, mean_nats=mean(found),
            standard_deviation=stdev(found) if len(found) > 1 else 0.0,
            above_lda_c_percent=-100 * (mean(found) / LDA_C - 1),
        )  # fmt: skip


def scikit_learn(splits, seed):
    """Return topics [V, K] of scikit-learn's online LDA at its defaults, and what it took."""
    import numpy as np
    from scipy.sparse import csr_array
    from sklearn.decomposition import LatentDirichletAllocation
    from sklearn.utils import gen_batches

    ids, counts = splits.train.ids, splits.train.counts
    ends = np.append(0, np.cumsum(ids.lengths))  # training rows are stored end to end, in order
    shape = (len(ids), splits.train.num_terms)
    matrix = csr_array(
        (counts.values[: ends[-1]].astype(float), ids.values[: ends[-1]], ends), shape
    )
    model = LatentDirichletAllocation(
        K, doc_topic_prior=ALPHA, topic_word_prior=ETA, learning_method="online", n_jobs=1,
        random_state=seed, total_samples=len(ids),
    )  # fmt: skip
    seconds, processor = time.perf_counter(), time.process_time()
    # What `fit` does, without the perplexity that it ends with.
    for _ in range(model.max_iter):
        for batch in gen_batches(len(ids), model.batch_size):
            model.partial_fit(matrix[batch])
    return model.components_.T, time.perf_counter() - seconds, time.process_time() - processor


def speed(options) -> None:
    """Print the ratio of times to scikit-learn's final held-out bound, seed by seed, in turns."""
    import jax
    import jax.numpy as jnp

    from avi.engine import loop as training
    from avi.run.topics import held_out

    jax.config.update("jax_enable_compilation_cache", False)  # every seed compiles anew
    training.SECONDS_PER_CHUNK = 0.0  # look after every `log_every` steps
    dataset = articles()
    splits = dataset.load()
    model = parts("svi")[0].model
    ratios, with_compilation, ours, theirs = [], [], [], []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        topics, seconds, processor = scikit_learn(splits, seed)
        goal = held_out(model, {"topics": jnp.asarray(topics, float)}, splits.test)[0].nats
        first = None
        steps = chunks("svi", dataset, splits, seed, num_steps=20 * 40, batch_size=100, log_every=5)
        for chunk, own_seconds, own_processor in steps:
            first = first or (own_seconds, own_processor)  # nearly all of it compilation
            reached = held_out(model, chunk.state.params.theta, splits.test)[0].nats
            if reached >= goal:
                break
        else:
            raise SystemExit(f"seed {seed}: {reached:.1f} nats; scikit-learn has {goal:.1f}.")
        per_step = chunk.seconds / len(chunk.value)
        own = own_processor - first[1] + 5 * per_step
        ratios.append(own / processor)
        with_compilation.append(own_processor / processor)
        ours.append(own)
        theirs.append(processor)
        show(
            seed=seed, goal_nats=goal, reached_nats=reached,
            steps=chunk.first_step + len(chunk.value), sklearn_seconds=seconds,
            sklearn_processor_seconds=processor, avi_processor_seconds=own,
            avi_seconds_with_compilation=own_seconds, ratio=ratios[-1],
            ratio_with_compilation=with_compilation[-1],
        )  # fmt: skip
    show(
        seeds=options.seeds, mean_ratio=mean(ratios),
        mean_ratio_with_compilation=mean(with_compilation),
    )  # fmt: skip
    if options.write:
        facts = {"ratios": ratios, "with_compilation": with_compilation}
        with_it = [own * other for own, other in zip(with_compilation, theirs, strict=True)]
        what = f"topics to the bound at which scikit-learn ends, {options.seeds} seeds"
        rows = [
            harness.Row(
                f"{what}{ending}", f"{mean(own):.1f} s", "scikit-learn", f"{mean(theirs):.1f} s",
                mean(found),
            )
            for ending, own, found in (
                ("", ours, ratios),
                (", tracing and compilation included", with_it, with_compilation),
            )
        ]  # fmt: skip
        harness.write("lda", facts, rows)


def stream(options) -> None:
    """Print memory and time per minibatch through one pass over many documents.

    The documents are in a mapped file and are streamed in windows; processor times.
    """
    import tempfile
    from pathlib import Path

    import numpy as np

    from avi.engine.feed import mapped
    from avi.ragged import Document, Ragged
    from avi.types import Splits

    number, random = options.documents, np.random.default_rng(0)
    lengths = np.clip(random.poisson(60, number), 1, 100).astype(np.int32)
    starts = (np.cumsum(lengths, dtype=np.int64) - lengths).astype(np.int32)
    ids = random.integers(0, 5000, lengths.sum(), np.uint16)
    counts = np.ones(len(ids), np.uint8)
    rows = Document(*(Ragged(v, starts, lengths, 100) for v in (ids, counts)), 5000)
    with tempfile.TemporaryDirectory() as folder:
        rows = mapped(rows, Path(folder))
    del ids, counts
    steps, last, before = number // 100, 0, None
    passes = chunks(
        "svi", articles(), Splits(rows, rows, rows), 0,
        num_steps=steps, batch_size=100, log_every=20, device_budget=20e6,
    )  # fmt: skip
    for chunk, _, processor in passes:
        reached = chunk.first_step + len(chunk.value)
        if before is None:
            before, last = processor, reached  # compilation
        elif reached - last >= steps // 10 or reached == steps:
            show(
                documents=100 * reached,
                processor_milliseconds_per_minibatch=1e3 * (processor - before) / (reached - last),
                megabytes=resident_megabytes(),
            )
            before, last = processor, reached


def resident_megabytes() -> float:
    """Return the memory of this process that no file backs."""
    with open("/proc/self/status") as file:
        (kilobytes,) = (line.split()[1] for line in file if line.startswith("RssAnon"))
    return int(kilobytes) / 1e3


if __name__ == "__main__":
    main()
