"""Names of folders, and the identity of a configuration."""

import datetime
import re

import pytest

from avi.rundir import config_differences, config_digest, new_run_name, sweep_run_name

TREE = {
    "seed": 3,
    "model": {"decoder": {"widths": [200, 200]}},
    "train": {"epochs": 10, "batch_size": 64},
    "gap": {"num_points": 100},
}
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5)


def changed(path: str, value: object) -> dict:
    head, _, rest = path.partition(".")
    return {**TREE, head: {**TREE[head], rest: value} if rest else value}


def test_jobs_of_the_same_second_get_different_names() -> None:
    names = {new_run_name("vae", "svi", "digits", MOMENT) for _ in range(20)}
    # 20 draws of 16 bits: two or more equal pairs with probability below 1e-5.
    assert len(names) >= 19
    assert all(
        re.fullmatch(r"2026-01-02-030405-vae-svi-digits-[0-9a-f]{4}", name) for name in names
    )


def test_names_are_short_and_safe_whatever_the_words() -> None:
    for name in (
        new_run_name("../../etc", "a b=,", "空" * 300),
        sweep_run_name("x" * 500, "-y", "z", TREE),
    ):
        assert len(name) <= 120
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name)


def test_a_sweep_finds_its_folder_again() -> None:
    name = sweep_run_name("vae", "svi", "digits", TREE)
    assert name == sweep_run_name("vae", "svi", "digits", changed("train.epochs", 20))
    assert name != sweep_run_name("vae", "svi", "digits", changed("seed", 4))
    assert name.startswith("vae-svi-digits-3-")


@pytest.mark.parametrize("path", ["train.epochs", "train.save_every", "gap.num_points", "output"])
def test_what_does_not_change_a_step_may_change_on_resume(path: str) -> None:
    assert config_digest(changed(path, 99)) == config_digest(TREE)
    assert config_differences(TREE, changed(path, 99)) == []


def test_everything_else_is_listed_as_a_difference() -> None:
    new = changed("model.decoder", {"widths": [200, 100, 50]})
    assert config_digest(new) != config_digest(TREE)
    assert config_differences(TREE, new) == [
        "model.decoder.widths.1: 200 -> 100",
        "model.decoder.widths.2: (absent) -> 50",
    ]


def test_the_order_of_keys_and_tuples_for_lists_change_nothing() -> None:
    same = {key: TREE[key] for key in reversed(TREE)}
    same["model"] = {"decoder": {"widths": (200, 200)}}
    assert config_digest(same) == config_digest(TREE)
