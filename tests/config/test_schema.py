"""Nodes become checked objects, or one sentence that names the key."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pytest
import yaml

from avi.config import catalog
from avi.config.schema import build, build_settings, check
from avi.errors import ConfigError
from avi.families.gaussian import DiagonalGaussian
from avi.settings import GapSettings, TrainSettings

GAUSSIAN = "avi.families.gaussian.DiagonalGaussian"
ADAM = {"_target_": "optax.adam", "learning_rate": 1e-3}


class Speaks(Protocol):
    volume: int

    def speak(self) -> str: ...


@dataclass(frozen=True)
class Dog:
    volume: int

    def speak(self) -> str:
        return "wau" * self.volume


@dataclass(frozen=True)
class Stone:
    weight: float


@dataclass(frozen=True)
class Zoo:
    animals: tuple[Speaks, ...]
    first: Speaks | None
    hours: tuple[int, int]
    names: dict[str, float]
    kind: Literal["small", "large"]
    anything: Any


@pytest.fixture(autouse=True)
def _trust_this_module(monkeypatch):
    monkeypatch.setenv("AVI_PLUGINS", __name__.split(".")[0])


def here(cls):
    """Return the `_target_` of a class of this module."""
    return f"{cls.__module__}.{cls.__name__}"


def dog(volume=1):
    return {"_target_": here(Dog), "volume": volume}


def zoo(**changes):
    node = {
        "_target_": here(Zoo),
        "animals": [dog(1), dog(2)],
        "first": None,
        "hours": [9, 17],
        "names": {"rex": 1},
        "kind": "small",
        "anything": ["kept", 1],
    }
    return node | changes


def test_a_node_becomes_the_object_its_fields_describe():
    assert build(zoo(), "zoo") == Zoo(
        (Dog(1), Dog(2)), None, (9, 17), {"rex": 1.0}, "small", ["kept", 1]
    )
    assert build({"_target_": GAUSSIAN, "latent_size": 3}, "family") == DiagonalGaussian(3)


def test_an_integer_is_a_number_but_a_truth_value_is_not_an_integer():
    assert check(1, float, "x") == 1.0
    assert type(check(1, float, "x")) is float
    with pytest.raises(ConfigError, match="expected an integer, got True"):
        check(True, int, "x")
    with pytest.raises(ConfigError, match="expected a number, got False"):
        check(False, float, "x")


@pytest.mark.parametrize(
    ("value", "annotation", "sentence"),
    [
        ("3", int, "x: expected an integer, got '3'."),
        (3.0, int, "x: expected an integer, got 3.0."),
        (float("nan"), float, "x: expected a finite number, got nan."),
        (3, str, "x: expected text, got 3."),
        (None, int, "x: expected an integer, got None."),
        ("y", int | None, "x: expected an integer or null, got 'y'."),
        ([1, "b"], tuple[int, ...], "x[1]: expected an integer, got 'b'."),
        (1, tuple[int, ...], "x: expected a list, each an integer, got 1."),
        ([1], tuple[int, int], "x: expected a list of 2 (an integer, an integer), got [1]."),
        ("smal", Literal["small", "large"], "x: 'smal' is not one of: small, large. "),
    ],
)
def test_a_wrong_type_is_refused_with_what_was_expected(value, annotation, sentence):
    with pytest.raises(ConfigError) as caught:
        check(value, annotation, "x")
    assert str(caught.value).startswith(sentence)


def test_a_literal_that_may_be_null_still_names_its_choices():
    with pytest.raises(ConfigError, match="theat.* is not one of: theta. Did you mean theta?"):
        check("theat", Literal["theta"] | None, "train.freeze")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"animals": [{"_target_": here(Stone), "weight": 1}]}, "lacks speak, volume"),
        ({"first": {"_target_": here(Stone), "weight": 1}}, "zoo.first: Stone does not fit"),
        ({"first": 3}, "zoo.first: expected "),
        ({"kind": "big"}, "zoo.kind: 'big' is not one of: small, large"),
        ({"animals": [dog("loud")]}, r"zoo.animals\[0\].volume: expected an integer"),
        ({"hour": [1, 2]}, "unknown key 'hour'.*Did you mean hours"),
    ],
)
def test_an_error_deep_in_a_tree_is_named_by_its_path(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(zoo(**changes), "zoo")


def test_a_missing_key_is_refused_because_the_yaml_is_the_whole_truth():
    with pytest.raises(ConfigError, match="family: missing latent_size."):
        build({"_target_": GAUSSIAN}, "family")


def test_what_a_constructor_refuses_is_told_with_its_place():
    with pytest.raises(ConfigError, match="^family: latent_size must be 1 or more; got 0.$"):
        build({"_target_": GAUSSIAN, "latent_size": 0}, "family")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "numpy.load",
        "jax.jit",
        "optax.apply_updates",
        "optax.contrib.muon",
        "avi.cli.main.main",
        "avi.rundir.folder.RunDir",
        "avi.run.train.main",
        "avi.families.gaussian.dataclass",
        "avi.families.gaussian.jax.jit",
        "avi.families.gaussian",
        "avi.families.gaussian.__builtins__",
        "avi..families",
        "avi",
        "",
        "a b",
        None,
        3,
        ["optax.adam"],
    ],
)
def test_targets_outside_the_allow_list_are_refused(target):
    with pytest.raises(ConfigError):
        build({"_target_": target}, "node")


def test_other_keys_that_begin_with_an_underscore_are_refused():
    for key in ("_args_", "_partial_", "_recursive_", "_convert_"):
        with pytest.raises(ConfigError, match=key):
            build({"_target_": GAUSSIAN, "latent_size": 2, key: True}, "family")


def test_a_package_is_trusted_only_when_the_user_names_it(monkeypatch):
    assert build(dog(), "dog") == Dog(1)
    monkeypatch.setenv("AVI_PLUGINS", "some_other_package")
    top = here(Dog).partition(".")[0]
    with pytest.raises(ConfigError, match=rf"not allowed.* try AVI_PLUGINS={top} before"):
        build(dog(), "dog")


def test_optimisers_take_numbers_schedules_and_chains():
    schedule = {
        "_target_": "optax.exponential_decay",
        "init_value": 1e-3,
        "transition_steps": 10,
        "decay_rate": 0.5,
    }
    clip = {"_target_": "optax.clip_by_global_norm", "max_norm": 1}
    for node in (
        ADAM,
        ADAM | {"learning_rate": schedule},
        {"_target_": "optax.chain", "args": [clip, ADAM]},
    ):
        assert callable(build(node, "optimizer.phi").update)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learning_rate": "fast"}, "optimizer.phi.learning_rate: expected a number"),
        ({"learning_rate": None}, "optimizer.phi.learning_rate: expected a number"),
        ({"learning_rate": ADAM}, "optimizer.phi.learning_rate: .* does not fit here"),
        ({"leaning_rate": 0.9}, "unknown key 'leaning_rate'.*Did you mean learning_rate"),
    ],
)
def test_a_wrong_setting_of_an_optimiser_is_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(ADAM | changes, "optimizer.phi")


def test_settings_need_no_target_and_name_their_own_key():
    node = yaml.safe_load(catalog.command_file("train").read_text())["gap"]
    assert build_settings(GapSettings, node, "gap").splits == ("train", "test")
    with pytest.raises(ConfigError, match="^gap.tolerance must be positive"):
        build_settings(GapSettings, node | {"tolerance": 0}, "gap")
    with pytest.raises(ConfigError, match="train: expected a block of settings, got 3."):
        build_settings(TrainSettings, 3, "train")
