"""Words become a tree; a tree read back from a folder is data and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from avi.config import build, catalog, compose
from avi.config.build import checked, load_experiment, require_effect
from avi.errors import ConfigError
from avi.run.session import open_session
from avi.rundir.bounded import read_tree
from avi.settings import KEYS, RESUMABLE, WITHOUT_EFFECT

ROOT = Path(__file__).resolve().parents[2]


def refused(*words, multirun=False):
    """Return the sentence with which these words are refused."""
    with pytest.raises(ConfigError) as caught:
        compose.compose(list(words), multirun)
    return str(caught.value)


def one(*words):
    """Return the only job of these words."""
    (job,) = compose.compose(list(words))
    return job


def test_the_defaults_are_an_amortized_vae_on_digits():
    job = one()
    assert {key: job.choices[key] for key in ("model", "inference", "dataset")} == {
        "model": "vae",
        "inference": "amortized",
        "dataset": "digits",
    }
    assert job.tree == one("model=vae", "dataset=digits", "inference=amortized").tree


def test_a_composed_tree_is_plain_and_survives_yaml(tmp_path):
    tree = one().tree
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(dict(tree)))
    assert read_tree(path) == tree


def test_one_word_changes_one_block():
    before, after = one().tree, one("objective=iwae").tree
    assert {key for key in after if after[key] != before[key]} == {"objective"}


def test_a_nested_choice_is_written_like_any_other():
    assert one("optimizer.theta=sgd").tree["optimizer"]["theta"]["_target_"] == "optax.sgd"
    assert one("model.decoder=linear").tree["model"]["decoder"]["widths"] == []
    assert one("optimizer.theta=sgd").choices["optimizer.theta"] == "sgd"


def test_a_path_needs_no_quoting():
    for path in ("/tmp/ü=1,b 空", "it's", "back\\", "a, b", "[x", "'", "${x}"[1:]):
        assert one(f"output={path}").tree["output"] == path


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("model=vea", "There is no model named vea. Choose from: .*vae.* Did you mean vae?"),
        ("modle=vae", "There is no key modle. Did you mean model?"),
        ("train.epoch=3", "There is no key train.epoch. Did you mean train.epochs?"),
        ("latent_size=3", "There is no key latent_size. Did you mean model.latent_size?"),
        ("train.epochs=fast", "train.epochs: expected an integer, got 'fast'."),
        ("train.epochs=-1", "train.epochs must be 0 or more; got -1."),
        ("seed=1.5", "seed: expected an integer, got 1.5."),
        ("seed=-1", "seed must be 0 or more"),
        ("precision=float16", "precision: 'float16' is not one of: float32, float64."),
        ("device=cuda", "device: 'cuda' is not one of: auto, cpu, gpu, tpu."),
        ("seed=1,2", "seed=1,2 names several values: add -m"),
        ("vae", "'vae' is not of the form key=value. Did you mean model=vae?"),
        ("model.decoder=mpl", "There is no network named mpl.*Did you mean mlp?"),
        ("evidence.num_chains=4", "There is no key evidence.num_chains. Try evidence=ais, which"),
        ("inference.refine.steps=4", "There is no key .* Try inference=.*, which has it"),
        ("experiment=mnist_va", "There is no experiment .* Did you mean mnist_vae?"),
        ("train=3", "train: expected a block of settings, got 3."),
        ("+tarin.epochs=3", "Unknown key tarin. Did you mean train?"),
        ("gap.splits=[train,tset]", r"gap.splits\[1\]: 'tset' is not one of: train, valid, test"),
        ("model.latent_size=${nothing.there}", "nothing"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(word, sentence):
    message = refused(word)
    assert re.search(sentence, message)
    assert "\n" not in message


def test_composing_imports_no_jax_and_writes_nothing(workplace):
    program = (
        "import sys; from avi.config import compose; compose.compose(['seed=0,1'], True);"
        "assert not {'jax', 'optax', 'flax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": str(ROOT)})
    assert list(workplace.iterdir()) == []


def test_a_sweep_is_the_product_of_its_values():
    jobs = compose.compose(["seed=0,1", "inference=svi,amortized", "train.epochs=1"], True)
    found = [(job.tree["seed"], job.choices["inference"]) for job in jobs]
    assert found == [(0, "svi"), (0, "amortized"), (1, "svi"), (1, "amortized")]
    assert jobs[0].swept == ["seed=0", "inference=svi"]


def test_an_experiment_can_bring_its_own_sweep_and_the_words_come_first():
    jobs = compose.compose(["experiment=width", "seed=7"], True)  # the file says seed: 0,1,2
    found = [(job.tree["inference"]["network"]["widths"], job.tree["seed"]) for job in jobs]
    assert found == [([4], 7), ([32], 7), ([256], 7)]


def test_own_folders_of_yaml_come_before_the_built_in_ones(tmp_path, monkeypatch):
    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "elbo.yaml").write_text("# Mine\n_target_: mine.Objective\n")
    (tmp_path / "objective" / "other.yaml").write_text("# Mine\n_target_: mine.Other\n")
    monkeypatch.setenv("AVI_CONFIG_PATH", str(tmp_path))
    assert one().tree["objective"] == {"_target_": "mine.Objective"}
    assert one("objective=other").tree["objective"] == {"_target_": "mine.Other"}
    assert one("objective=iwae").choices["objective"] == "iwae"


# Reading back.

HOSTILE = {
    "python object": "a: !!python/object/apply:os.system ['touch owned']",
    "python name": "a: !!python/name:os.system",
    "interpolation": "a: ${oc.env:HOME}",
    "interpolation inside": "a: [{b: 'x ${oc.env:HOME} y'}]",
    "alias": "a: &x [1]\nb: *x",
    "many laughs": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]",
    "merge key": "a: &a {x: 1}\nb:\n  <<: *a",
    "not a mapping": "- 1\n- 2",
    "text": "hello",
    "empty": "",
    "args": "a: {_target_: optax.adam, _args_: [1]}",
    "partial": "a: {_partial_: true}",
    "call": "a: {_call_: os.system}",
    "number as key": "1: 2",
    "null as key": "null: 2",
    "date": "a: 2024-01-01",
    "bytes": "a: !!binary aGVsbG8=",
    "set": "a: !!set {x, y}",
    "two documents": "a: 1\n---\nb: 2",
    "deep": "a: " + "[" * 10_000 + "]" * 10_000,
    "unclosed": "a: [1, 2",
    "tab": "a:\n\t- b",
    "large": "a: " + "x" * (1 << 21),
    "long number": "a: " + "9" * 10_000,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_config_is_refused_and_runs_nothing(content, workplace):
    path = workplace / "config.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match="config.yaml"):
        read_tree(path)
    assert [entry.name for entry in workplace.iterdir()] == ["config.yaml"]


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(ConfigError, match="not plain yaml"):
        read_tree(path)


def test_a_folder_without_a_config_is_not_a_run(tmp_path):
    with pytest.raises(ConfigError, match="is not a run folder"):
        read_tree(tmp_path / "nowhere" / "config.yaml")


def test_a_float_without_a_point_is_a_number_as_in_yaml_1_2(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: 1e-3\nb: 1E+2\nc: e3\nd: 1e3m\n")
    assert read_tree(path) == {"a": 1e-3, "b": 100.0, "c": "e3", "d": "1e3m"}


# Changing what was read back.

TREE = {"train": {"epochs": 3, "start": None}, "gap": {"splits": ["train"]}, "seed": 0}


def test_words_change_a_copy_of_the_tree():
    changed = compose.override(TREE, ["train.epochs=5", "gap.splits=[test]", "train.start='a b'"])
    assert changed == {
        "train": {"epochs": 5, "start": "a b"},
        "gap": {"splits": ["test"]},
        "seed": 0,
    }
    assert TREE["train"]["epochs"] == 3


def test_a_key_that_runs_of_earlier_versions_lack_can_be_set_in_them():
    changed = compose.override(TREE, ["gap.rows=0:9", "train.patience=3"])
    assert changed["gap"] == {"splits": ["train"], "rows": "0:9"}
    assert changed["train"]["patience"] == 3
    assert "rows" not in TREE["gap"]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("train.epoch=5", "no key train.epoch in this run. Did you mean train.epochs"),
        ("train=5", "train is fixed by the run"),
        ("seed=1,2", "expected one plain key=value"),
        ("~seed", "expected one plain key=value"),
        ("+new=1", "expected one plain key=value"),
        ("train.epochs.more=1", "no key train.epochs.more"),
    ],
)
def test_only_a_setting_that_exists_can_be_changed(word, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compose.override(TREE, [word])


def test_a_group_is_replaced_from_its_yaml_file():
    tree = one().tree
    changed = compose.replace_groups(tree, {"evidence": "none"})
    assert changed["evidence"] == one("evidence=none").tree["evidence"]
    assert {key for key in tree if tree[key] != changed[key]} == {"evidence"}
    with pytest.raises(ConfigError, match="There is no evidence named iwea. .*Did you mean iwae"):
        compose.replace_groups(tree, {"evidence": "iwea"})


# What is known of keys, once.


def test_from_the_words_to_the_session_settings_are_checked_once(monkeypatch):
    blocks, really = [], build.build_settings

    def build_settings(cls, node, path):
        blocks.append(path)
        return really(cls, node, path)

    monkeypatch.setattr(build, "build_settings", build_settings)
    tree = one().tree
    session = open_session(tree)
    assert blocks == ["train", "gap", "mesh"]
    assert session.experiment.train is tree.train
    load_experiment(dict(tree))  # of what nobody has checked yet
    assert blocks == 2 * ["train", "gap", "mesh"]


def test_a_checked_tree_reads_like_the_tree_and_a_changed_one_is_checked_anew():
    tree = one().tree
    assert tree == dict(tree)
    assert checked(tree) is tree
    with pytest.raises(ConfigError, match="seed must be 0 or more; got -1"):
        checked(compose.override(tree, ["seed=-1"]))


def test_every_key_of_the_table_is_a_key_of_a_command():
    chosen = ({}, {"dataset": "file"}, {"dataset": "corpus"})
    of_training = {*catalog.packages({}), *(key for one in chosen for key in catalog.keys(one))}
    others = ("train", "gap", "infer", "export", "compare", "verify", "import")
    own = {s.key for name in others for s in catalog.settings(catalog.command_file(name))}
    names = [key.name for key in KEYS]
    assert len(names) == len(set(names))
    assert set(names) <= of_training | own


def test_every_setting_beside_the_blocks_has_a_type_in_the_table():
    of_file = catalog.settings(catalog.command_file("train"))
    alone = {setting.key for setting in of_file if setting.value and "." not in setting.key}
    assert alone <= {key.name for key in KEYS if key.annotation is not None}


def test_what_has_no_effect_may_change_on_resume():
    of_a_sweep = {key.name for key in KEYS if key.place == "sweep"}
    assert WITHOUT_EFFECT - of_a_sweep <= RESUMABLE
    assert all(not key.effect for key in KEYS if key.place is not None)


PAIRS = {  # the modes whose parts are chosen one by one, under a model with every ability
    "inference.refine": ("refine", ["inference=svi", "inference=semi_amortized"]),
    "inference.network": ("network", ["inference=amortized"]),
    "inference.base.network": ("network", ["inference=semi_amortized"]),
    "optimizer.phi": ("optimizer", ["inference=amortized", "inference=free_form"]),
    "refine": ("refine", ["inference=free_form"]),
    "evidence": ("evidence", ["inference=amortized"]),
    "objective": ("objective", ["inference=amortized"]),
    "family": ("family", ["inference=amortized"]),
}


@pytest.mark.parametrize(
    ("place", "choice", "mode"),
    [
        (place, choice, mode)
        for place, (group, modes) in PAIRS.items()
        for choice in catalog.groups()[group]
        for mode in modes
    ],
)
def test_every_choice_stands_where_it_may_or_its_remedy_does(place, choice, mode):
    words = [mode, f"{place}={choice}"]
    for remedy in remedies(words):
        key = remedy.partition("=")[0]
        if key != "model":  # other data go with another model
            others = [word for word in words if word.partition("=")[0] != key]
            load_experiment(one(*others, remedy).tree)


REFUSED = [
    "inference=free_form optimizer.phi=natural_gradient optimizer.phi.rate=2",
    "inference=free_form optimizer.phi=natural_gradient optimizer.phi.delay=0",
    "inference=free_form optimizer.phi=natural_gradient optimizer.phi.decay=2",
    "objective=elbo objective.antithetic=true objective.num_samples=3",
    "objective=score objective.num_samples=1",
    "objective=vimco objective.num_samples=1",
    "objective=thermodynamic objective.num_samples=1",
    "objective=thermodynamic objective.first=1",
    "objective=renyi objective.alpha=1",
    "family=top_down",
    "family=student_t family.degrees=2",
    "model=dlgm model.layer_sizes=[]",
    "model=dlgm model.latent_size=5",
    "model=dlgm family.sizes=[4,4]",
    "inference=iterative inference.steps=0",
    "objective=cubo objective.power=1",
    "objective=wake_sleep objective.wake=0 objective.sleep=0",
    "objective=wake_sleep objective.wake=1 objective.num_samples=1",
    "objective=wake_sleep inference=free_form",
    "inference=svi inference.refine.steps=1",
    "inference=semi_amortized inference.backprop=false",
    "evidence=ais evidence.num_chains=3",
    "evidence=quadrature model.latent_size=1 evidence.num_nodes=12",
    "likelihood=gaussian dataset.binarize=none likelihood.floor=0",
    "model=linear_gaussian dataset=linear_gaussian model.floor=0",
    "model=mixture dataset=linear_gaussian model.floor=0",
    "model=lda dataset=ap optimizer.theta=adam",
    "model=lda dataset=ap optimizer.theta.kappa=2",
    "optimizer.phi=robbins_monro",
    "inference=free_form dataset.binarize=dynamic",
    "dataset.binarize=none",
    "model=lda",
    "family=mixture_of_gaussians family.components=1",
    "family=coupling_flow model.latent_size=1 family.context=0",
    "family=dirichlet",
    "train.patience=2 train.eval_every=0",
    "gap.rows=0:9 gap.half_width=0.1",
    "dataset=file dataset.path=rows.npy dataset.binarize=fixed",
    "model=linear_gaussian dataset=file dataset.path=rows.npy dataset.missing=mask "
    "dataset.support=unit",
]


@pytest.mark.parametrize("words", REFUSED)
def test_what_a_refusal_offers_is_accepted_when_typed(words):
    words = words.split()
    with pytest.raises(ConfigError) as refused:
        load_experiment(one(*words).tree)
    remedy = re.split(r"\b(?:Try|[Ss]ay|add|leave out) ", str(refused.value), maxsplit=1)[1]
    for alternative in re.split(r",? or |[.;] ", remedy):
        offered = re.findall(r"(?<![\w.])[a-z]\w*(?:\.\w+)*=[\w.-]*\w", alternative)
        offered = [word for word in offered if word not in words]
        if not offered or "<" in alternative:
            continue
        keys = {word.partition("=")[0] for word in offered}
        # Another choice of a group takes the keys of the old one with it.
        others = [
            word
            for word in words
            if not any(word.startswith((f"{key}=", f"{key}.")) for key in keys)
        ]
        load_experiment(one(*others, *offered).tree)


IDLE = [
    "dataset.binarize=none likelihood=gaussian dataset.binarize_seed=3",
    "likelihood=gaussian dataset.binarize=none likelihood.learn_scale=false likelihood.floor=0.2",
    "gap.num_points=0 gap.frontier=4",
    "gap.rows=0:9 gap.splits=[test]",
    "train.eval_points=0 train.eval_draws=4",
    "inference.network.widths=[] inference.network.activation=relu",
    "model.decoder.widths=[] model.decoder.activation=relu",
    "dataset=file dataset.path=rows.npy dataset.header=true",
    "dataset=file dataset.path=rows.csv dataset.array=x",
    "dataset=file dataset.path=rows.csv dataset.white=255",
    "dataset=file dataset.path=rows.csv dataset.shuffle=false dataset.split_seed=4",
    "model=lda dataset=corpus dataset.path=a.ldac dataset.vectorizer.stop_words=null",
    "model=lda dataset=corpus dataset.path=a dataset.format=text dataset.first_id=1",
]


@pytest.mark.parametrize("words", IDLE)
def test_a_key_that_does_nothing_beside_another_is_refused(words):
    *others, idle = words.split()
    require_effect(others, one(*others).tree)
    job = one(*words.split())
    with pytest.raises(ConfigError, match=f"^{re.escape(idle)} does nothing: "):
        require_effect(job.words, job.tree)


@pytest.mark.parametrize("word", ["evidence=quick", "refine.steps=3"])
def test_what_a_report_that_is_not_made_would_use_is_refused(word):
    one(word)
    with pytest.raises(ConfigError, match=f"^{word} does nothing: gap.num_points=0"):
        one("gap.num_points=0", word)


def test_the_optimiser_of_a_frozen_theta_is_refused():
    frozen = ["train.start=run", "train.freeze=theta"]
    with pytest.raises(ConfigError, match=r"^optimizer\.theta=sgd does nothing"):
        one(*frozen, "optimizer.theta=sgd")


def remedies(words):
    """Return what is offered where these words are refused, nothing where they are not."""
    try:
        load_experiment(one(*words).tree)
    except ConfigError as error:
        sentence = str(error)
    else:
        return []
    offered = re.findall(r"[\w.]+=\w+", sentence.partition("Try ")[2])
    assert offered, sentence
    return offered
