"""Tab: what it offers, and that real shells take the scripts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from avi.cli.command import NAMES, commands
from avi.cli.completion import SCRIPTS
from avi.cli.offers import complete
from avi.config import catalog
from avi.config.compose import compose
from avi.settings import KEYS

ROOT = Path(__file__).resolve().parents[2]
SHELLS = tuple(SCRIPTS)


def offered(line):
    """Return what Tab offers behind `avi <line>`."""
    return complete(f"avi {line}", commands())


def test_the_first_word_is_a_command():
    assert offered("") == list(NAMES)
    assert offered("comp") == ["compare", "completion"]
    assert complete("avi", commands()) == list(NAMES)


def test_a_group_completes_to_its_choices():
    assert offered("train inference=") == [
        f"inference={name}" for name in catalog.groups()["inference"]
    ]
    assert offered("train optimizer.phi=s") == ["optimizer.phi=sgd"]
    assert offered("train experiment=mni") == ["experiment=mnist_vae"]


def test_a_sweep_completes_behind_the_last_comma():
    assert offered("train -m inference=svi,am") == ["inference=svi,amortized"]


def test_keys_complete_dot_by_dot_and_follow_the_choices():
    assert offered("train mod") == ["model.", "model="]
    assert "train.epochs=" in offered("train train.e")
    assert "inference.network." in offered("train inference.n")
    assert "inference.network." not in offered("train inference=svi inference.")
    assert "inference.backprop=" in offered("train inference=svi inference.")


def test_no_key_is_offered_twice():
    assert "seed=" in offered("train s")
    assert "seed=" not in offered("train seed=1 s")


OF_A_SWEEP = {key.name for key in KEYS if key.place == "sweep"}


def test_every_key_that_completes_is_a_key_of_the_composed_tree():
    (job,) = compose([])
    for key in catalog.keys({}):
        if key.partition(".")[0] in OF_A_SWEEP:  # answered before there is a tree
            continue
        node = job.tree
        for part in key.split("."):
            assert part in node, key
            node = node[part]


def test_settings_with_few_values_complete():
    assert offered("train device=") == [f"device={d}" for d in ("auto", "cpu", "gpu", "tpu")]
    assert offered("train overwrite=") == ["overwrite=true", "overwrite=false"]
    assert offered("train train.freeze=") == ["train.freeze=theta", "train.freeze=null"]
    assert offered("train train.batch_size=") == []  # a number or null: too many to offer
    assert offered("infer split=t") == ["split=train", "split=test"]
    assert offered("train --") == ["--cfg", "--help"]
    assert offered("train --cfg ") == ["job"]
    assert offered("completion ") == list(SHELLS)
    assert offered("list data") == ["dataset"]


def test_nothing_is_offered_behind_what_is_no_command():
    assert offered("nothing x") == []


def test_folders_complete(workplace):
    (workplace / "outputs" / "train").mkdir(parents=True)
    (workplace / "data.csv").touch()
    assert offered("gap run=out") == ["run=outputs/"]
    assert offered("gap run=outputs/t") == ["run=outputs/train/"]
    assert offered("compare out") == ["out=", "outputs/"]
    assert offered("infer data=da") == ["data=data.csv"]
    assert offered("infer data=nowhere/") == []


def test_completing_needs_neither_jax_nor_hydra_nor_yaml():
    program = (
        "import sys; from avi.cli.main import run; run(['complete', 'avi train inference=']);"
        "assert not {'jax', 'hydra', 'omegaconf', 'yaml', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True)


# Real shells.


@pytest.fixture
def shell_environment(workplace):
    """An `avi` on the PATH, and no start-up files of the person who runs the tests."""
    bin_folder = workplace / "bin"
    bin_folder.mkdir()
    script = bin_folder / "avi"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m avi "$@"\n')
    script.chmod(0o755)
    for shell, text in SCRIPTS.items():
        (workplace / f"avi.{shell}").write_text(text)
    (workplace / "outputs").mkdir()
    return {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(workplace),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }


def shell(name):
    """Return the path of a shell, or skip the test."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def test_bash_offers_what_the_completer_offers(shell_environment, workplace):
    program = r"""
        source avi.bash
        compopt() { :; }
        ask() { COMP_LINE="$1" COMP_POINT=${#1}; _avi; printf '%s\n' "${COMPREPLY[*]}"; }
        ask "avi tra"
        ask "avi train inference=sv"
        ask "avi train -m inference=svi,amo"
        ask "avi train train.ep"
        ask "avi nothing x"
    """
    done = subprocess.run(
        [shell("bash"), "--norc", "-c", program],
        env=shell_environment,
        cwd=workplace,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:5] == ["train", "svi", "svi,amortized", "train.epochs=", ""]


def test_fish_offers_what_the_completer_offers(shell_environment, workplace):
    def ask(line):
        done = subprocess.run(
            [shell("fish"), "--no-config", "-c", f'source avi.fish; complete -C "{line}"'],
            env=shell_environment,
            cwd=workplace,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert ask("avi tra") == ["train"]
    assert ask("avi train inference=sv") == ["inference=svi"]
    assert ask("avi train train.ep") == ["train.epochs="]


START = {
    "bash": (["--norc", "--noprofile", "-i"], "source ./avi.bash"),
    "zsh": (["-f", "-i"], "autoload -Uz compinit && compinit -u -D && source ./avi.zsh"),
    "fish": (["--no-config", "-i"], "source ./avi.fish"),
}


# A terminal needs a fork; the child becomes the shell at once, so that JAX's threads do not matter.
@pytest.mark.filterwarnings("ignore:os.fork")
@pytest.mark.parametrize("name", SHELLS)
def test_a_person_who_presses_tab_gets_the_word(name, shell_environment, workplace):
    arguments, source = START[name]
    term = "xterm" if name == "fish" else "dumb"
    child = pexpect.spawn(
        shell(name),
        arguments,
        env=shell_environment | {"TERM": term},
        cwd=str(workplace),
        encoding="utf-8",
        timeout=20,
        dimensions=(24, 200),
    )
    child.sendline(source)
    child.sendline("echo rea''dy")
    child.expect("ready")
    child.send("avi train inference=free\t")
    child.expect("inference=free_form")
    child.send("train.epo\t")
    child.expect("train\\.epo\x07?chs=")  # some shells ring the bell on the way
    child.close(force=True)


@pytest.mark.parametrize("name", SHELLS)
def test_the_command_prints_the_script(name, avi):
    done = avi("completion", name)
    assert (done.returncode, done.stdout) == (0, SCRIPTS[name])


def test_an_unknown_shell_is_refused(avi):
    done = avi("completion", "tcsh")
    assert done.returncode == 2
    assert "avi completion bash, zsh or fish" in done.stderr
