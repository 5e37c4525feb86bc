"""Every remedy that a message offers is executed: typed where the message appeared, as it stands.

A message of data, files and commands has a case here, which provokes it and types what it offers.
What other messages offer are settings: each key exists and its group accepts the value.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pydoc import locate
from types import SimpleNamespace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import mmwrite

from avi.cli import verify
from avi.cli.main import run as avi
from avi.cli.words import own_keys
from avi.config import catalog
from avi.config.build import load_experiment
from avi.config.compose import compose
from avi.config.schema import check, parameters
from avi.contracts.model import require
from avi.datasets.columns import Reading
from avi.datasets.tables import read_table
from avi.engine.loop import Loop
from avi.errors import ConfigError, Refusal
from avi.launch import pool, slurm
from avi.results import metrics
from avi.results.metrics import MetricsLine
from avi.run import export, measure, posterior, replay, train
from avi.run.session import Session
from avi.verify import components, suite

prepared_import = import_module("avi.cli.import").prepared  # a name that Python keeps

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "train import gap calibrate infer export compare runs status diff replay verify list docs "
    "completion"
).split()

# --- which messages offer something to type -------------------------------------------------------

VERBS = (
    r"\b(?:[Tt]ry|Type|[Ss]ay|[Uu]se|[Gg]ive|[Aa]dd|[Cc]hoose|[Cc]hange|[Ss]tart|[Pp]ut|[Rr]eplace|"
    r"[Cc]ontinue|[Ll]eave|[Tt]akes?|become|goes|with|or)\b"
)
OFFERS = (
    r"\b(?:[Tt]ry|[Ss]ay|Type|add|[Uu]se|[Ff]or example|Leave it out|Put|Choose|Give)\b|(?=`avi )"
)
WORD = r"(?:[a-z_]\w*(?:\.\w+)*=(?![=\s])|\{word\(|\{drop\})"
OFFER = re.compile(
    rf"\b(?:[Tt]ry [^a]|Type\b|[Ss]ay (?:\{{|$))|{VERBS}[^.;]*?(?<![\w{{.\[]){WORD}"
    rf"|\bavi (?:{'|'.join(COMMANDS)}|\{{command\}})\b"
)


class Message(NamedTuple):
    """A literal that offers something to type; its holes are written as in the source."""

    file: str  # below avi/
    line: int
    text: str


def messages():
    """Yield all of them: no docstring, no help of a command."""
    for path in sorted((ROOT / "avi").rglob("*.py")):
        tree, name = ast.parse(path.read_text()), path.relative_to(ROOT / "avi").as_posix()
        skipped = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                skipped.add(node.value)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Command":
                skipped.update(ast.walk(node))
            if isinstance(node, ast.JoinedStr):
                skipped.update(node.values)
        for node in ast.walk(tree):
            text = None if node in skipped else literal(node)
            if text is not None and OFFER.search(text) and name not in OF_HELP:
                yield Message(name, node.lineno, text)


def literal(node):
    """Return the text of a string or an f-string, None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
            for part in node.values
        )
    return None


OF_HELP = ("cli/help.py", "cli/completion.py", "report/figures/style.py")
# Components and reports: what they offer are settings of this file's second kind.
SETTINGS_ALONE = (
    "abilities", "comparison/", "evidence/", "families/", "gap/", "inference/", "likelihoods/",
    "models/", "networks/", "objectives/", "optimizers/", "priors/", "report/", "results/flags.py",
)  # fmt: skip


# --- the cases ------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A message, the command line that provokes it, and those that it offers.

    In `then`, a line that begins with + is typed behind the first command line, in place of the
    words with the same keys; any other is a command line of its own.
    """

    message: str  # a part of it without holes
    provoke: str
    then: tuple[str, ...]


def case(message, provoke, *then):
    """Return a case: shorter to write."""
    return Case(message, provoke, then)


FILE = "train model=linear_gaussian dataset=file train.batch_size=4 dataset.path="
VAE = "train dataset=file train.batch_size=4 dataset.path="
WORDS = "train model=lda dataset=corpus train.batch_size=null inference=cavi dataset.path="
TEXT = "dataset.format=text dataset.vectorizer.max_share=1"
LINEAR = "model=linear_gaussian dataset=linear_gaussian"
MINE = "AVI_PLUGINS=mine PYTHONPATH=."
NUMPYRO = "train model=numpyro model.latent_size=2 dataset=linear_gaussian train.batch_size=4"

CASES = [
    case("Which runs? For example", "compare", "compare outputs/train/*"),
    case("Which two runs?", "diff", "diff outputs/train/a outputs/train/b"),
    case("avi import weights=vae.safetensors", "import",
         "? import weights=vae.safetensors weights_map=pytorch_vae model=vae dataset=mnist"),
    case("it trains nothing", "import weights=vae.npz weights_map=pytorch_vae train.epochs=3",
         f"train train.start=outputs/train/a {LINEAR}"),
    case("--where takes key=value", "runs --where vae", "runs --where model=vae"),
    case(" is no folder {root}", "runs nowhere", "runs outputs/train"),
    case(" is no folder {root}", "status nowhere", "status outputs/train"),
    case("with other words of avi train", "verify seed=3", "verify only=linear",
         "verify model=vae"),
    case("in its name. Try one of", "verify only=nothing", "verify only=linear",
         "verify only=missing"),
    case("There is no page", "docs which-mode", "docs which-mode-when", "docs"),
    case("Which run? For example", "gap", "gap run=outputs/train/a"),
    case("Which run? For example", "infer", "infer run=outputs/train/a"),
    case("Which run? For example", "calibrate", "calibrate run=outputs/train/a"),
    case("Which run? For example", "export", "export run=outputs/train/a to=arviz"),
    case("To what? One of", "export run=outputs/train/a", "export run=outputs/train/a to=csv"),
    case("does nothing with to=", "export run=outputs/train/a to=csv draws=100",
         "export run=outputs/train/a to=csv"),
    case("expected {FEWEST} or more", "export run=outputs/train/a to=arviz draws=5",
         "+ draws=1000"),
    case("take {size", "export run=outputs/train/a to=arviz draws=9000000", "+ limit=4"),
    case("to=arviz writes NetCDF", "export run=outputs/train/a to=arviz out=x.zarr", "+ out=x.nc"),
    case("the tracker cannot begin", f"{MINE} train resume=begun train.log=mine.absent",
         "train resume=begun train.log=null"),
    case("Which run? For example", "replay", "replay run=outputs/train/a"),
    # config/
    case(", which has it.", "train evidence.num_chains=4", "+ evidence=ais"),
    case(", which has it.", "train optimizer.theta=em optimizer.theta.learning_rate=0.1",
         "+ optimizer.theta=adam"),
    case("of the last batch", f"train {LINEAR} optimizer.theta=em train.batch_size=4",
         "+ train.batch_size=null", "+ optimizer.theta=adam"),
    case("Missing: {', '.join(missing)}", "train -cd conf model=unsaid dataset=linear_gaussian",
         "+ model.latent_size=2"),
    case("Missing: {missing[1]}", "train -cd conf model=linked dataset=linear_gaussian",
         "+ model.latent_size=2"),
    case("avi starts its jobs by itself", "train hydra/launcher=joblib", "train -m", "train jobs=2",
         "train output=elsewhere"),
    case("has a likelihood of its own", f"train {LINEAR} likelihood=bernoulli",
         "train likelihood=bernoulli", "+ model=vae dataset=digits"),
    case("is chosen beside the model", "train model.likelihood=poisson",
         "train likelihood=poisson"),
    case("is run only from a package that you name", f"{NUMPYRO} model.function=mine.factors",
         f"{MINE} {NUMPYRO} model.function=mine.factors"),
    case("on the path. Try PYTHONPATH", f"AVI_PLUGINS=other {NUMPYRO} model.function=other.factors",
         f"AVI_PLUGINS=other PYTHONPATH=sub {NUMPYRO} model.function=other.factors"),
    case("Numbers of such a model would mean nothing",
         f"{MINE} train -cd conf model=broken dataset=linear_gaussian",
         f"{MINE} verify -cd conf model=broken dataset=linear_gaussian"),
    # datasets/
    case("Say dataset.decimal=comma", f"{FILE}thousands.csv", "+ dataset.decimal=comma",
         "+ dataset.decimal=dot"),
    case("both split every line alike", f"{FILE}marks.csv",
         "+ dataset.separator=comma dataset.drop=[1]",
         "+ dataset.separator=semicolon dataset.drop=[0]"),
    case("say dataset.header=true", f"{FILE}years.csv", "+ dataset.header=true",
         "+ dataset.header=false"),
    case("text. Say {drop}", f"{FILE}sorts.csv", "+ dataset.drop=[sort]", "+ dataset.label=sort"),
    case("of dataset.columns hold text", f"{FILE}sorts.csv dataset.columns=[a,sort]",
         "+ dataset.columns=[a]"),
    case("are not images of shape", f"{FILE}rows.csv dataset.image_shape=[2,2]",
         "+ dataset.image_shape=[1,3]", "+ dataset.image_shape=null"),
    case("as class labels", f"{FILE}twosorts.csv", "+ dataset.drop=[sort,place]",
         "+ dataset.label=sort dataset.drop=[place]"),
    case("no column is left", f"{FILE}rows.csv dataset.columns=[]", "+ dataset.columns=all"),
    case("Grey values from 0 to 1 become bits", f"{VAE}grey.npy dataset.support=binary",
         "+ dataset.binarize=fixed"),
    case("divides bytes", f"{VAE}bytes.npy dataset.support=unit", "+ dataset.white=255",
         "+ dataset.support=real"),
    case("for measurements", f"{VAE}rows.csv dataset.support=count likelihood=poisson",
         "+ dataset.support=real likelihood=gaussian"),
    case("for numbers of both signs", f"{VAE}rows.csv dataset.support=positive "
         "likelihood=log_normal", "+ dataset.support=real likelihood=gaussian"),
    case("or say dataset.missing=mask with a model", f"{FILE}missing.csv", "+ dataset.missing=mask",
         "+ dataset.missing=mask model=vae", "+ dataset.missing=mask model=linear_gaussian"),
    case("Try dataset.text=<column>", f"{WORDS}texts.csv {TEXT}", "+ dataset.text=body"),
    case("Try dataset.text=<field>", f"{WORDS}texts.jsonl {TEXT}", "+ dataset.text=body"),
    case("has genes down, as 10x", f"{FILE}genes/matrix.mtx", f"{FILE}genes"),
    case("say dataset.first_id=1", f"{WORDS}from1.ldac", "+ dataset.first_id=1"),
    case("which documents?", "train model=lda dataset=corpus train.batch_size=null inference=cavi",
         "+ dataset.path=from0.ldac", "+ dataset.path=texts dataset.format=text"),
    case("which file?", "train model=linear_gaussian dataset=file train.batch_size=4",
         "+ dataset.path=rows.csv", "+ dataset.path=rows.tsv", "+ dataset.path=rows.npy",
         "+ dataset.path=one.npz"),
    case("makes bits of grey values", f"{VAE}grey.npy dataset.binarize=fixed",
         "+ dataset.support=binary", "+ dataset.binarize=none"),
    case("not for grey values", f"{FILE}grey.npy dataset.missing=mask dataset.support=unit",
         "+ dataset.support=real dataset.binarize=none",
         "+ dataset.missing=refuse model=vae likelihood=continuous_bernoulli"),
    case("would make all of them black", f"{VAE}grey.npy dataset.support=unit dataset.white=255",
         "+ dataset.white=1"),
    case("name one with dataset.array", f"{FILE}two.npz", "+ dataset.array=x"),
    case("If they stand for missing values", f"{FILE}sentinel.csv", "+ dataset.missing=[-999]",
         f"{FILE}emptied.csv dataset.missing=mask"),
    case("far from all others", f"{VAE}spoiled.csv", f"{VAE}emptied.csv dataset.missing=mask"),
    case("single precision rounds these data", f"{FILE}large.csv", "+ precision=float64"),
    case("look like the grey values of images", f"{VAE}bytes.npy",
         "+ dataset.support=unit dataset.white=255",
         "+ dataset.support=binary dataset.binarize=fixed dataset.white=255"),
    case("If they are counts", f"{VAE}counts.csv",
         "+ dataset.support=count likelihood=negative_binomial"),
    case("counts the rows, from", f"{FILE}counted.csv dataset.columns=all", "+ dataset.drop=[n]"),
    case("looks like class labels", f"{FILE}classes.csv", "+ dataset.label=class"),
    case("All are in this column", f"{VAE}bits.csv dataset.support=binary", "+ dataset.drop=[kind]",
         "+ dataset.label=kind"),
    # engine/, experiment.py, settings.py
    case("cannot hold the rows of twice", f"train {LINEAR} dataset.device_budget=9",
         "+ dataset.device_budget=40000", "+ train.log_every=1 dataset.device_budget=9000"),
    case("jax sees", f"train {LINEAR} mesh.devices=9", "+ mesh.devices=1"),
    case("likelihood=continuous_bernoulli, likelihood=gaussian", "train dataset.binarize=none",
         "+ likelihood=continuous_bernoulli", "+ likelihood=gaussian", "+ dataset.binarize=fixed"),
    case("likelihood=poisson, or likelihood=negative_binomial",
         f"{VAE}counts.csv dataset.support=count", "+ likelihood=poisson",
         "+ likelihood=negative_binomial"),
    case("likelihood=log_normal, or", f"{VAE}above.csv dataset.support=positive likelihood=poisson",
         "+ likelihood=log_normal", "+ likelihood=gaussian"),
    case("dataset=ap, or dataset=corpus", "train model=lda train.batch_size=null",
         "? train model=lda train.batch_size=null dataset=ap",
         "+ dataset=corpus dataset.path=from0.ldac"),
    case("only steps made for them keep valid", f"{WORDS}from0.ldac optimizer.theta=adam",
         "+ optimizer.theta=robbins_monro"),
    case("moves the globals of a model, not phi", "train optimizer.phi=robbins_monro",
         "+ optimizer.phi=adam"),
    case("drawn anew at every visit", "train inference=free_form dataset.binarize=dynamic",
         "+ dataset.binarize=fixed", "+ inference=amortized"),
    case("has no density of the others alone",
         f"{VAE}missing.csv dataset.missing=mask model=mixture", "+ model=vae likelihood=gaussian"),
    case("there are none during training", "train train.patience=2 train.eval_every=0",
         "+ train.eval_every=5 train.eval_points=1000"),
    case("go together: which tensor", "train train.weights=vae.npz",
         "+ train.weights_map=pytorch_vae", "list weights_map"),
    case("gap.rows names them", "train gap.rows=0:9 gap.half_width=0.1", "+ gap.half_width=null"),
    case("is about the jobs of a sweep", f"train {LINEAR} seed=0 launcher.retry=1", "+ -m"),
    # launch/
    case("nobody waits for what then= asks", f"train -m {LINEAR} seed=0,1 launcher=slurm "
         "launcher.cluster=local launcher.then=compare dry_run=true", "+ launcher.wait=true"),
    case("finds no sbatch", f"train -m {LINEAR} seed=0,1 launcher=slurm", "+ launcher=pool"),
    case("is one job of a sweep", "train task=0 seed=0", "+ -m"),
    case("resume cannot change what was trained", "train resume=outputs/train/a seed=7",
         f"train train.start=outputs/train/a {LINEAR}"),
    case("a sweep takes sweep=<folder>", f"train -m {LINEAR} seed=0,1 output=x",
         f"train -m {LINEAR} seed=0,1 sweep=x"),
    case("the jobs of this sweep are numbered", f"train -m {LINEAR} seed=0,1 task=2", "+ task=1"),
    case("have changed since. Put the data back", f"{FILE}changed.csv -m seed=0 sweep=sw",
         "+ sweep=others", "+ overwrite=true"),
    # rundir/, results/, run/
    case("is no run folder {path}", "train resume=nowhere", "train resume=outputs/train/a"),
    case("exists and is not empty", f"train {LINEAR} seed=3 output=outputs/train/a",
         "+ output=elsewhere", "train resume=outputs/train/a", "+ overwrite=true"),
    case("Restore the file, or train again", "train resume=torn", f"train {LINEAR} output=torn "
         "overwrite=true"),
    case("is not a run folder: it", "gap run=empty", "gap run=outputs/train/a"),
    case("is not finished", "replay run=begun", "train resume=begun"),
    case("measures nothing", "gap run=outputs/train/a gap.num_points=0", "+ gap.num_points=100"),
    case("data of which no entry may be missing", "infer run=outputs/train/a impute=true",
         f"{FILE}missing.csv dataset.missing=mask"),
    case("hold_out is of entries that", "infer run=gappy split=train hold_out=0.1",
         "+ split=test"),
    case("split of this data set is empty. Try split", f"{MINE} infer run=novalid split=valid",
         "+ split=train"),
    case("in no batch of an epoch", f"train {LINEAR} train.batch_size=700",
         "+ train.batch_size=500"),
    case("scored by a density of real numbers", f"{VAE}counts.csv dataset.support=count "
         "likelihood=gaussian", "+ likelihood=poisson", "+ likelihood=negative_binomial"),
    case("may collapse while the gap looks small",
         "train model=lda dataset=corpus train.batch_size=null dataset.path=from0.ldac",
         "+ inference=svi", "+ train.start=outputs/train/lda optimizer.theta.tau=10000"),
    case("learned its training rows by heart", "train resume=fell", "gap run=fell checkpoint=best",
         "infer run=fell checkpoint=best"),
    case("Try {' or '.join(words)}", f"train {LINEAR} train.batch_size=500 output=diverged",
         "+ optimizer.theta.learning_rate=0.001 output=smaller",
         "+ optimizer.phi.learning_rate=0.0001 output=smaller",
         "+ precision=float64 output=double"),
    case("The training bound still rises", "train resume=risen", "+ train.epochs=40"),
    case("Try more of inference.refine.steps", "train resume=short",
         f"train {LINEAR} inference=free_form inference.refine.steps=400"),
    case("split of this data set is empty. Try gap.splits", f"{MINE} train -cd conf "
         "model=linear_gaussian dataset=novalid gap.splits=[train,valid]",
         "+ gap.splits=[train,test]", f"{MINE} train -cd conf model=linear_gaussian "
         "dataset=novalid gap.num_points=0"),
    case("have changed since {run.path} began", "gap run=moved",
         f"{FILE}changed.csv output=elsewhere"),
    case("would not take them back", "train resume=outputs/train/a train.epochs=1",
         "gap run=outputs/train/a checkpoint=0"),
    case("has no checkpoint with a validation bound", "gap run=unscored checkpoint=best",
         "gap run=unscored"),
    case("there are no held-out bounds with", "train train.eval_points=0 train.eval_draws=4",
         "train train.eval_points=0"),
    case("there is no report with", "train gap.num_points=0 gap.frontier=4",
         "train gap.num_points=0"),
    case("does not go with these data", "train model=normal_hierarchy dataset=linear_gaussian",
         "list dataset"),
]  # fmt: skip

# What takes a trained run, or a component that avi does not have: message -> the test that does it.
ELSEWHERE = {
    "If you trust {top}, try AVI_PLUGINS": "config/test_schema.py"
    "::test_a_package_is_trusted_only_when_the_user_names_it",
    "'avi[{module.EXTRA}]'": "datasets/test_foreign.py"
    "::test_a_library_that_is_not_there_is_named_with_its_extra",
    "it has no X; name a layer": "datasets/test_foreign.py"
    "::test_annotated_data_give_layers_names_and_labels",
    "needs {library}, an extra of avi": "run/test_export.py"
    "::test_an_extra_is_asked_for_before_anything_is_computed",
    "holds one array only": "cli/test_remedies.py"
    "::test_the_name_of_an_array_is_left_out_where_a_file_holds_one",
    "is not available here": "cli/test_remedies.py"
    "::test_a_device_that_is_not_there_is_refused_with_one_that_is",
    "`avi infer run=<run>` writes it": "api/test_api.py"
    "::test_posteriors_and_bounds_are_those_of_infer",
    "is none of {": "problem/test_experiment.py::test_a_support_of_ones_own_holds_its_own_data",
    "Try {INSTEAD[": "problem/test_experiment.py"
    "::test_a_support_that_does_not_hold_the_data_says_what_to_type",
    "lives on {": "config/test_config.py::test_every_choice_stands_where_it_may_or_its_remedy_does",
    "family=diagonal_gaussian or family=full": "config/test_config.py"
    "::test_every_choice_stands_where_it_may_or_its_remedy_does",
    "To look: avi status": "launch/test_slurm.py"
    "::test_a_sweep_is_one_job_array_with_what_was_asked_for",
    "{'Try ' + ' '.join(words)": "run/test_import.py"
    "::test_sizes_that_differ_are_refused_with_the_words_that_fit",
}


# --- where they are typed -------------------------------------------------------------------------


def write_tables(folder):
    """Write rows in all the dresses that a message is about."""
    draws = np.random.default_rng(0)
    rows = draws.normal(size=(24, 3)).round(3)
    grey, counts = draws.uniform(size=(24, 16)), draws.poisson(1.0, (24, 4))
    some = [1.5] * 11 + [2.5] * 12

    def table(name, array, names, mark=","):
        lines = [names.replace(",", mark), *(mark.join(map(str, row)) for row in array.tolist())]
        (folder / name).write_text("\n".join(lines) + "\n")

    def beside(values, array=rows):
        return np.column_stack([array.astype(object), np.array(values, object)])

    table("rows.csv", rows, "a,b,c")
    table("rows.tsv", rows, "a,b,c", "\t")
    table("above.csv", np.exp(rows), "a,b,c")
    table("years.csv", rows, "1990,1991,1992")
    table("counts.csv", counts, "a,b,c,d")
    table("counted.csv", beside(range(24)), "a,b,c,n")
    table("classes.csv", beside([0, 1, 2] * 8), "a,b,c,class")
    table("sorts.csv", beside(["red", "blue"] * 12), "a,b,c,sort")
    two = beside(["x", "y"] * 12, beside(["red", "blue"] * 12))
    table("twosorts.csv", two, "a,b,c,sort,place")
    table("missing.csv", beside(["", *some]), "a,b,c,d")
    table("sentinel.csv", beside([-999, *some]), "a,b,c,d")
    table("spoiled.csv", beside([1e9, *some]), "a,b,c,d")
    table("emptied.csv", beside(["", *some]), "a,b,c,d")
    table("large.csv", beside([1e9 + row for row in rows[:, 0]]), "a,b,c,d")
    bits = (grey > 0.5).astype(np.uint8)
    table("bits.csv", beside([0, 1, 2] * 8, bits[:, :4]), "a,b,c,d,kind")
    (folder / "thousands.csv").write_text("a;b\n" + "1,234;2,345\n" * 24)
    (folder / "marks.csv").write_text("1,x;2\n2,x;4\n" * 12)
    arrays = {"rows": rows, "grey": grey, "bits": bits, "bytes": (255 * grey).astype(np.uint8)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "one.npz", x=rows)
    np.savez(folder / "two.npz", x=rows, y=rows)
    (folder / "genes").mkdir()
    mmwrite(folder / "genes" / "matrix.mtx", counts.T)
    for name, number in (("features", 4), ("barcodes", 24)):
        (folder / "genes" / f"{name}.tsv").write_text("".join(f"{n}\n" for n in range(number)))


def write_others(folder):
    """Write documents, weights, models and folders."""
    (folder / "from0.ldac").write_text("3 0:2 1:1 2:4\n2 0:1 3:5\n" * 12)
    (folder / "from1.ldac").write_text("3 1:2 2:1 3:4\n2 1:1 4:5\n" * 12)
    sizes = {
        "fc1": (128, 64),
        "fc21": (8, 128),
        "fc22": (8, 128),
        "fc3": (128, 8),
        "fc4": (64, 128),
    }
    weights = {f"{name}.weight": np.zeros(shape, np.float32) for name, shape in sizes.items()}
    biases = {f"{name}.bias": np.zeros(shape[0], np.float32) for name, shape in sizes.items()}
    np.savez(folder / "vae.npz", **weights, **biases)
    for name in ("empty", "texts", "conf/model", "conf/dataset", "mine", "sub/other"):
        (folder / name).mkdir(parents=True)
    for number in range(24):
        words = ("winter autumn", "summer autumn", "winter spring")[number % 3]
        (folder / "texts" / f"{number}.txt").write_text(f"{words} number{number % 5}")
    texts = [one.read_text() for one in sorted((folder / "texts").iterdir())]
    (folder / "texts.csv").write_text("\n".join(["body", *texts]))
    (folder / "texts.jsonl").write_text("\n".join(json.dumps({"body": text}) for text in texts))
    functions = (ROOT / "tests" / "plugins" / "numpyro_functions.py").read_text()
    (folder / "mine" / "__init__.py").write_text(functions + BROKEN)
    (folder / "sub" / "other" / "__init__.py").write_text(functions)
    yaml = (ROOT / "configs" / "model" / "linear_gaussian.yaml").read_text()
    unsaid = re.sub(r"(?m)^latent_size: \d+", "latent_size: ???", yaml)
    linked = re.sub(r"(?m)^floor: \S+", "floor: ${model.latent_size}", unsaid)
    target = "_target_: avi.models.linear_gaussian.LinearGaussian"
    for name, text in {
        "unsaid": unsaid,
        "linked": linked,
        "broken": yaml.replace(target, "_target_: mine.Broken"),
    }.items():
        (folder / "conf" / "model" / f"{name}.yaml").write_text(text)
    yaml = (ROOT / "configs" / "dataset" / "linear_gaussian.yaml").read_text()
    target = "avi.datasets.linear_gaussian.LinearGaussian"
    text = yaml.replace(target, "mine.NoneHeldOut")
    (folder / "conf" / "dataset" / "novalid.yaml").write_text(text)


BROKEN = """

from dataclasses import dataclass
from avi.datasets import linear_gaussian
from avi.models.linear_gaussian import LinearGaussian

@dataclass(frozen=True)
class NoneHeldOut(linear_gaussian.LinearGaussian):
    def load(self):
        found = super().load()
        return found._replace(valid=found.valid[:0])

def absent(folder):
    raise OSError("nobody answers")

@dataclass(frozen=True)
class Broken(LinearGaussian):
    def log_joint(self, theta, x, z):
        return super().log_joint(theta, x, z) + 1.0
"""


def bound(step, value, split="valid", certificate=np.nan):
    """Return a line of the record."""
    return MetricsLine(step, step // 2, split, 0, value, 0.1, 50, certificate, certificate)


RECORDS = {
    "fell": [bound(10, -20.0), bound(40, -30.0)],
    "short": [bound(10, -20.0), bound(40, -30.0, certificate=9.0)],
    "risen": [bound(step, -20.0 + step, "batches") for step in range(1, 41)],
}


def write_runs(folder):
    """Write runs as training leaves them, and some whose files have been touched since."""
    linear = f"train {LINEAR} train.batch_size=500 train.epochs=20"
    shutil.copy(folder / "rows.csv", folder / "changed.csv")
    for name, words in {
        "outputs/train/a": linear,
        "outputs/train/lda": f"{WORDS}from0.ldac",
        "novalid": f"{MINE} train -cd conf model=linear_gaussian dataset=novalid",
        "unscored": f"{linear} train.eval_points=0",
        "moved": f"{FILE}changed.csv",
        "gappy": f"{FILE}missing.csv dataset.missing=mask",
        **dict.fromkeys(RECORDS, linear),
    }.items():
        with pytest.MonkeyPatch.context() as patch:
            assert avi([*prepared(words, patch), f"output={name}"]) == 0
    assert avi([*f"{FILE}changed.csv -m seed=0 sweep=sw".split()]) == 0
    (folder / "changed.csv").write_text((folder / "above.csv").read_text())
    for name in ("outputs/train/b", "begun", "torn"):
        shutil.copytree(folder / "outputs/train/a", folder / name)
    facts = json.loads((folder / "begun" / "run.json").read_text())
    (folder / "begun" / "run.json").write_text(json.dumps(facts | {"status": "interrupted"}))
    (folder / "torn" / "metrics.jsonl").write_text("")


class Reached(Refusal):
    """Raised where a command begins to compute: it has taken its words."""

    exit_code = 0


def advanced(training, state):
    """Stand in for all steps: leave a record, and a checkpoint with a validation bound."""
    step = training.num_steps
    training.valid = (step, -1.0) if training.settings.eval_points else None
    lines = RECORDS.get(training.run_dir.path.name, [bound(step, -20.0)])
    metrics.append(training.run_dir, lines, 1.0)
    training._save(state._replace(step=jnp.asarray(step)), step)
    return state


def ended(training, state):
    """Stand in for all that is measured at the end, but for the remarks on the record."""
    for sentence in train.ending(training.run_dir, training.settings.epochs):
        train.say(sentence)
    training.recorder.ended("done")


def required(problem, spec):
    """Hold a model against its contract where a case is about that: it takes a second."""
    if type(problem.model).__name__ == "Broken":
        require(problem, spec)


def stepped(training, state):
    """Stand in for all steps: none of them counts, but in the folders that a case is about."""
    name = training.run_dir.path.name
    if name == "risen":
        lines = [bound(step, 20.0, "batches") for step in range(41, training.num_steps + 1)]
        metrics.append(training.run_dir, lines, 1.0)
    if name == "diverged":
        none = np.full(2, np.nan)
        raise training.postmortem.of_evaluation({}, 1, "valid", np.arange(2), none)
    return state


def reached(*_, **__):
    """Stand in for a computation."""
    raise Reached("reached")


NOT_COMPUTED = [
    (Loop, "compile", lambda *_: None),
    (Loop, "repeats", lambda *_: True),
    (train.model, "require", required),
    (train._Training, "run", advanced),
    (train._Training, "finish", ended),
    (pool, "default_workers", lambda device: 1),
    (slurm.shutil, "which", lambda name: None),
]
NOR_BEGUN = [
    (Session, "initial_state", lambda *_: None),
    (train._Training, "_save", lambda *_: None),
    (train._Training, "run", stepped),
    (measure.gap, "report", reached),
    (posterior, "posteriors", reached),
    (export, "draws_of", reached),
    (replay, "train", SimpleNamespace(main=reached)),
    (suite, "rows", lambda only: []),
    (verify, "_compile_quickly", lambda: None),
    (components, "CONTRACTS", dict.fromkeys(components.CONTRACTS, lambda tree: [])),
]


@pytest.fixture(scope="module")
def quick():
    """Let every command come as far as its first number."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, value in NOT_COMPUTED:
            patch.setattr(owner, name, value)
        yield patch


@pytest.fixture(scope="module")
def furnished(tmp_path_factory, quick):
    """Return a folder with every file and every run that the cases name."""
    folder = tmp_path_factory.mktemp("furnished")
    quick.chdir(folder)
    write_tables(folder)
    write_others(folder)
    write_runs(folder)
    for owner, name, value in NOR_BEGUN:
        quick.setattr(owner, name, value)
    return folder


# --- the tests ------------------------------------------------------------------------------------


def test_every_message_that_offers_something_has_a_case():
    lacking = [
        f"avi/{one.file}:{one.line}: {one.text}"
        for one in messages()
        if not one.file.startswith(SETTINGS_ALONE)
        and not any(part in one.text for part in (*ELSEWHERE, *(case.message for case in CASES)))
    ]
    assert not lacking, (
        "add a case(<part of the message>, <words that provoke it>, <words that it offers>) to "
        "CASES for\n" + "\n".join(lacking)
    )


@pytest.mark.parametrize("case", CASES, ids=[f"{one.message}-{one.provoke}" for one in CASES])
def test_what_a_message_offers_works_where_it_is_typed(
    case, furnished, tmp_path, monkeypatch, capsys
):
    def typed(line, place):
        """Return the exit code and what was shown of a line, in a fresh copy of the folder."""
        shutil.copytree(furnished, tmp_path / place)
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path / place)
            words = prepared(line.removeprefix("? "), patch)
            code = composed(*words) if line.startswith("? ") else avi(words)
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    _, shown = typed(case.provoke, "provoked")
    said = [line for line in shown.splitlines() if says(line, case.message)]
    assert said, f"another message:\n{shown}"
    lines = [instead(case.provoke, line) for line in case.then]
    assert not untried(said[0], case.provoke, lines)
    for number, line in enumerate(lines):
        code, shown = typed(line, str(number))
        assert not any(says(one, case.message) for one in shown.splitlines()), line
        assert code == 0, f"{line}: {shown}"


def prepared(line, patch):
    """Return the words of a line as a shell hands them on; its assignments are made."""
    patch.setenv("AVI_CONFIG_PATH", "")  # which -cd sets for the whole process
    words = line.split()
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        patch.setenv(name, value)
        if name == "PYTHONPATH":
            patch.syspath_prepend(str(Path(value).absolute()))
    return [
        name
        for word in words
        for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
    ]


def composed(command, *words):
    """Return 0 where the words make a job: their data or weights are not here."""
    job = prepared_import(list(words)) if command == "import" else compose(list(words))[0]
    load_experiment(job.tree)
    return 0


def instead(line, offered):
    """Return what to type: the line with offered words in place of those with their keys."""
    if not offered.startswith("+ "):
        return offered
    words = offered[2:].split()
    keys = {word.partition("=")[0] for word in words}
    kept = [
        word
        for word in line.split()
        if not any(word.startswith((f"{key}=", f"{key}.")) for key in keys)
    ]
    return " ".join(kept + words)


def says(line, message):
    """Whether a line holds a message, whatever stands in its holes."""
    return re.search(".*".join(map(re.escape, re.split(r"\{.*?(?:\}|$)", message))), line)


def untried(said, provoked, lines):
    """Return what a message offers and no line types; <...> stands for anything."""
    offer = re.split(rf"{OFFERS}", said, maxsplit=1)[-1]
    known = provoked.split() + " ".join(lines).split()
    words = re.findall(r"(?<![\w.-])[A-Za-z]\w*(?:\.\w+)*=[^\s;`)]*[^\s;`),.:]", offer)
    commands = re.findall(rf"\bavi ({'|'.join(COMMANDS)})\b", offer)
    return [
        word
        for word in [*words, *commands]
        if word not in known
        and not ("<" in word and any(one.startswith(word.split("<")[0]) for one in known))
    ]


@pytest.mark.parametrize(
    "message",
    [one for one in messages() if one.file.startswith(SETTINGS_ALONE)],
    ids=lambda one: f"{one.file}:{one.line}",
)
def test_what_a_component_offers_is_a_setting_that_takes_the_value(message):
    text = re.sub(r"\{(?:self\.)?place\}", lambda hole: PLACE[hole[0]], message.text)
    words = re.findall(r"(?<![\w.-])([a-z_]\w*(?:\.\w+)*)=([^\s;`)=]*[^\s;`)=,.])", text)
    bare = [(key, "{}") for key in re.findall(r"try ([a-z]+\.[a-z]+)\b", text)]
    commands = set(re.findall(r"\bavi (\w+)", text)) & set(COMMANDS)
    assert words or bare or commands
    for key, value in [*words, *bare]:
        require_accepted(message.file, key, value)


PLACE = {"{place}": "optimizer.phi", "{self.place}": "inference.network"}  # where one may stand


def require_accepted(file, key, value):
    """Refuse a key that nothing has, and a value that its group or its type does not take."""
    entry, (group, _, name) = catalog.packages({}).get(key), key.rpartition(".")
    choices = catalog.groups().get(entry.group if entry else key)
    with_it = catalog.choices_with(key, group)
    anything = re.search("[{<]", value)
    if choices is not None:
        assert anything or set(value.split(",")) <= set(choices), f"{key} has no {value}"
    elif key in KEYS_OF_COMMANDS:
        assert value
    elif key in catalog.keys({}):
        assert anything or compose([f"{key}={value}"])
    elif with_it and not anything:
        others = [word for word in NEEDED.get(with_it[0], ()) if not word.startswith(f"{key}=")]
        job = compose([f"{group}={with_it[0]}", *others, f"{key}={value}"])[0]
        node = job.tree[group]
        check(node[name], parameters(locate(node["_target_"]))[name].annotation, key)
    elif not with_it:  # a component knows its keys, not where it stands: what builds it adds that
        package = (ROOT / "avi" / file).parent
        fields = rf"(?m)^    {name}: "
        assert any(re.search(fields, one.read_text()) for one in package.glob("*.py")), f"no {key}"


NEEDED = {"numpyro": ("model.function=mine.factors", "model.latent_size=2")}  # no default has them
KEYS_OF_COMMANDS = {
    key for command in ("gap", "calibrate", "infer", "replay") for key in own_keys(command)
}


def test_a_device_that_is_not_there_is_refused_with_one_that_is():
    def configured(device):
        program = f"from avi.engine.devices import configure; configure({device!r}, 'float32')"
        words = [sys.executable, "-c", program]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    refused = configured("tpu")
    assert "device=tpu is not available here" in refused.stderr
    assert "Try device=auto." in refused.stderr
    assert configured("auto").returncode == 0


def test_the_name_of_an_array_is_left_out_where_a_file_holds_one(tmp_path):
    np.save(tmp_path / "rows.npy", np.eye(3))
    with pytest.raises(ConfigError, match="leave out dataset.array=x"):
        read_table(tmp_path / "rows.npy", Reading(array="x"))
    assert len(read_table(tmp_path / "rows.npy").rows) == 3


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_what_is_executed_elsewhere_is_there(test):
    file, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / "tests" / file).read_text()
