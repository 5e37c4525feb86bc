"""Weights from elsewhere give the numbers that they gave there."""

import hashlib
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np
import pytest
import safetensors.numpy
from scipy.special import expit
from weights.torch_file import saved

import avi
from avi.config import catalog
from avi.config.compose import compose
from avi.errors import ConfigError, DataError, Refusal
from avi.run import replay
from avi.run.session import open_session

LATENT, HIDDEN, SIZE = 3, (7, 5), 64  # of the encoder and the decoder; dataset=digits


def relu(values):
    return np.maximum(values, 0)


def softplus(values):
    return np.logaddexp(values, 0)


class Foreign(NamedTuple):
    """How a library keeps a VAE, and what its own forward pass makes of it."""

    # hidden, mean and scale layer of the encoder, both of the decoder: (kernel, bias)
    layers: tuple[tuple[str, str], ...]
    turned: bool  # kernels are [outputs, inputs]
    log_variance: bool  # what the scale layer gives; else log s
    activation: str = "relu"

    def tensors(self, seed=0):
        """Return random weights as the library names and lays them out."""
        random = np.random.default_rng(seed)
        sizes = [
            (SIZE, HIDDEN[0]),
            (HIDDEN[0], LATENT),
            (HIDDEN[0], LATENT),
            (LATENT, HIDDEN[1]),
            (HIDDEN[1], SIZE),
        ]
        found = {}
        for (kernel, bias), (inputs, outputs) in zip(self.layers, sizes, strict=True):
            shape = (outputs, inputs) if self.turned else (inputs, outputs)
            found[kernel] = (random.standard_normal(shape) / 2).astype(np.float32)
            found[bias] = random.standard_normal(outputs).astype(np.float32)
        return found

    def forward(self, tensors, x):
        """Return mean, log variance and logits at the mean, in the library's own convention."""
        act = {"relu": relu, "softplus": softplus}[self.activation]

        def dense(layer, values):
            kernel, bias = (tensors[name].astype(np.float64) for name in self.layers[layer])
            return values @ (kernel.T if self.turned else kernel) + bias

        hidden = act(dense(0, x))
        mean, scale = dense(1, hidden), dense(2, hidden)
        log_variance = scale if self.log_variance else 2 * scale
        return mean, log_variance, dense(4, act(dense(3, mean)))


def named(layers, kernel, bias):
    """Return the names of the tensors of each layer."""
    return tuple((f"{layer}{kernel}", f"{layer}{bias}") for layer in layers.split())


def stated(layers):
    return named(layers, ".weight", ".bias")


FOREIGN = {
    "pytorch_vae": Foreign(stated("fc1 fc21 fc22 fc3 fc4"), True, True),
    "pythae_vae": Foreign(
        stated(
            "encoder.layers.0.0 encoder.embedding encoder.log_var "
            "decoder.layers.0.0 decoder.layers.1.0"
        ),
        True,
        True,
    ),
    "flax_linen_vae": Foreign(
        named(
            "encoder/fc1 encoder/fc2_mean encoder/fc2_logvar decoder/fc1 decoder/fc2",
            "/kernel",
            "/bias",
        ),
        False,
        True,
    ),
    "flax_nnx_vae": Foreign(
        named(
            "encoder.linear1 encoder.linear_mean encoder.linear_std "
            "decoder.linear1 decoder.linear2",
            ".kernel",
            ".bias",
        ),
        False,
        False,
    ),
    "stax_vae": Foreign(
        tuple((f"arr_{2 * layer}", f"arr_{2 * layer + 1}") for layer in range(5)),
        False,
        False,
        "softplus",
    ),
    "keras_vae": Foreign(
        named("dense z_mean z_log_var dense_1 dense_2", "/kernel", "/bias"), False, True
    ),
}
X = np.random.default_rng(1).integers(0, 2, (20, SIZE)).astype(np.float32)


def words(activation="relu"):
    return [
        "dataset=digits",
        f"model.latent_size={LATENT}",
        f"model.decoder.widths=[{HIDDEN[1]}]",
        f"inference.network.widths=[{HIDDEN[0]}]",
        f"model.decoder.activation={activation}",
        f"inference.network.activation={activation}",
    ]


@cache
def opened(activation):
    """Return a session of these sizes, and its forward pass, compiled once."""
    session = open_session(compose(words(activation))[0].tree)
    problem = session.experiment.problem
    family, model = problem.family, problem.model

    def forward(params, x):
        lam = problem.infer(params, x, jax.random.key(0))
        mean = family.mean(lam)
        score = model.log_likelihood(params.theta, x, mean)
        return mean, family.standard_deviation(lam), model.decode(params.theta, mean, x), score

    return session, jax.jit(jax.vmap(forward, (None, 0)))


def save(path, tensors):
    """Write tensors in the form that the name of the file says."""
    if path.suffix == ".pt":
        path.write_bytes(saved(tensors, "model_state_dict"))
    elif path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        safetensors.numpy.save_file(tensors, path)
    return path


def brought(session, file, names):
    settings = replace(session.experiment.train, weights=str(file), weights_map=str(names))
    session = session._replace(experiment=replace(session.experiment, train=settings))
    return session.brought(session.state_shapes().params)


def test_every_map_that_avi_brings_is_tried():
    assert set(catalog.groups()["weights_map"]) == set(FOREIGN)


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
@pytest.mark.parametrize("name", FOREIGN)
def test_the_numbers_are_those_of_a_forward_pass_in_the_librarys_own_convention(
    name, suffix, tmp_path
):
    foreign, (session, forward) = FOREIGN[name], opened(FOREIGN[name].activation)
    tensors = foreign.tensors()
    params = brought(session, save(tmp_path / f"vae.{suffix}", tensors), name).params
    mean, deviation, decoded, score = forward(params, X)
    there, log_variance, logits = foreign.forward(tensors, X.astype(np.float64))
    # Sums of at most 64 float32 products of numbers near 1, read through an exponential.
    close = partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5)
    close(mean, there)
    close(2 * np.log(deviation), log_variance)
    close(decoded, expit(logits))
    close(score, (X * logits - np.logaddexp(0, logits)).sum(axis=1))


PYTORCH = FOREIGN["pytorch_vae"]
TENSORS = PYTORCH.tensors()
QUICK = [*words(), "gap.num_points=0", "train.report=false", "train.eval_points=50"]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Return a run that `avi import` wrote, and its file."""
    folder = tmp_path_factory.mktemp("imported")
    file = save(folder / "vae.safetensors", TENSORS)
    given = [f"weights={file}", "weights_map=pytorch_vae", f"output={folder / 'run'}"]
    return avi.import_weights([*given, *QUICK]), file


def test_an_imported_run_is_a_run_like_any_other(imported):
    run, file = imported
    q = run.posterior(X, certify=False)
    mean, log_variance, logits = PYTORCH.forward(TENSORS, X.astype(np.float64))
    np.testing.assert_allclose(q.mean, mean, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(2 * np.log(q.sd), log_variance, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(run.decode(q.mean), expit(logits), rtol=2e-5, atol=2e-5)
    splits = dict(zip(run.metrics["split"], run.metrics["step"], strict=True))
    assert splits == {"train": 0, "valid": 0, "test": 0}
    assert run.record.facts.status == "done"
    assert avi.infer(run, "limit=5", "certify=false").mean.shape == (5, LATENT)


def test_a_run_records_which_tensors_made_which_parameters(imported):
    run, file = imported
    record = run.record.facts.weights
    assert record.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (record.file, record.map) == (str(file), "pytorch_vae")
    assert record.lines["encoder.layer1.bias"] == "[fc21.bias, 0.5 * fc22.bias]"
    assert len(record.lines) == 8


def test_it_is_trained_on_from_there_and_replayed_while_its_file_stands(imported, capsys):
    run, file = imported
    replay.main(run.folder)
    assert "3 of 3 lines of metrics.jsonl are the same to the bit" in capsys.readouterr().out
    kept = file.read_bytes()
    save(file, PYTORCH.tensors(seed=1))
    with pytest.raises(DataError, match="has changed since the run began"):
        replay.main(run.folder)
    file.write_bytes(kept)


def test_what_was_understood_is_printed(tmp_path):
    session, _ = opened("relu")
    tensors = {f"module.{name}": array for name, array in TENSORS.items()}
    (tmp_path / "mine.yaml").write_text(map_text() + "unused: [steps]\n")
    file = save(tmp_path / "vae.npz", {**tensors, "module.steps": np.array(3)})
    first, *lines, last = brought(session, file, tmp_path / "mine.yaml").said
    assert "10 tensors make 8 parameters" in first
    assert "  all names begin with module." in lines
    assert "  not used: module.steps" in lines
    assert "  decoder.layer0.kernel [3, 5] = fc3.weight^T" in lines
    assert "model.decoder.activation=relu" in last


def map_text():
    return (catalog.groups()["weights_map"]["pytorch_vae"]).read_text()


def test_sizes_that_differ_are_refused_with_the_words_that_fit(tmp_path):
    file = save(tmp_path / "vae.safetensors", TENSORS)
    given = ["dataset=digits", f"train.weights={file}", "train.weights_map=pytorch_vae"]

    def bring(*others):
        session = open_session(compose([*given, *others])[0].tree)
        return session.brought(session.state_shapes().params)

    with pytest.raises(ConfigError) as refused:
        bring("model.latent_size=4")
    assert "decoder.layer0.kernel: [4, 128] here, [3, 5] = fc3.weight^T there" in str(refused.value)
    bring(*str(refused.value).partition("Try ")[2].split())
    with pytest.raises(ConfigError, match="reads 64 numbers, but x has 10 here: other data"):
        bring("dataset=linear_gaussian", "likelihood=gaussian", *words()[1:4])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["weights=vae.npz"], "Which weights_map. .*avi import weights="),
        (["weights_map=pytorch_vae"], "Which weights. .*avi import weights="),
        (["weights=a.npz", "weights_map=x", "train.epochs=3"], "takes no train.epochs"),
        (["weights=a.npz", "weights_map=x", "train.start=run"], "both say where to start"),
        (["weights=a.npz", "weights_map=pytorch_vea"], "no file of weights a.npz"),
        (["weights=vae.npz", "weights_map=pytorch_vea"], "Did you mean pytorch_vae"),
    ],
)
def test_what_cannot_be_imported_is_refused(given, sentence, workplace):
    save(workplace / "vae.npz", TENSORS)
    with pytest.raises(Refusal, match=sentence):
        avi.import_weights([*given, *QUICK])
    assert not (workplace / "outputs").exists()


def test_a_run_is_replaced_by_one_that_can_begin_only(imported):
    run, _ = imported
    before = (run.folder / "run.json").read_bytes()
    given = ["weights=nowhere.npz", "weights_map=pytorch_vae", "overwrite=true"]
    with pytest.raises(ConfigError, match="no file of weights"):
        avi.import_weights([*given, f"output={run.folder}", *QUICK])
    assert (run.folder / "run.json").read_bytes() == before
