"""The command line as a product: help, mistakes, folders, sweeps, exit codes."""

import contextlib
import importlib
import json
import os
import re
import resource
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from avi.cli import main
from avi.cli.command import NAMES, commands
from avi.config import catalog
from avi.errors import NonFiniteError, Preempted
from avi.rundir import RunDir
from avi.settings import UNJUDGED
from avi.verify import suite

ROOT = Path(__file__).resolve().parents[2]


class Trainer:
    """Stands in for `avi.run.train`: keeps its calls and leaves the files of a done run."""

    def __init__(self):
        self.calls = []
        self.fails = {}  # seed -> what to raise

    def main(self, tree, choices, overrides, folder, resume):
        """Do what the real command promises, without the work."""
        self.calls.append((tree, choices, overrides, folder, resume))
        run = RunDir.open(folder) if resume else RunDir.create(folder, tree["overwrite"])
        with run.locked():
            run.write_config(tree)
            run.update_run(status="running", choices=dict(choices))
            if tree["seed"] in self.fails:
                raise self.fails[tree["seed"]]
            run.update_run(status="done")

    @property
    def folders(self):
        return [folder for _, _, _, folder, _ in self.calls]

    @property
    def seeds(self):
        return [tree["seed"] for tree, *_ in self.calls]

    @property
    def resumed(self):
        return [resume for *_, resume in self.calls]


@pytest.fixture
def trainer(monkeypatch, workplace):
    """Replace the training itself."""
    import avi.run

    stub = Trainer()
    module = types.SimpleNamespace(main=stub.main)
    monkeypatch.setitem(sys.modules, "avi.run.train", module)
    monkeypatch.setattr(avi.run, "train", module, raising=False)
    monkeypatch.setattr(
        "avi.launch.pool.default_workers", lambda device: 1
    )  # a stub is in this process
    return stub


# Help.


def milliseconds(*words):
    """Return the processor time of the quickest of five starts: waiting for others is not ours."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "avi", *words], cwd=ROOT, capture_output=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * min(times)


def test_help_answers_at_once():
    assert milliseconds("--help") < 100
    assert milliseconds("train", "--help") < 300


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["gap", "-h"], ["list"]])
def test_help_imports_neither_jax_nor_hydra(words):
    program = (
        f"import sys; from avi.cli.main import run; run({words});"
        "assert not {'jax', 'hydra', 'omegaconf', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True)


@pytest.mark.parametrize("command", [None, *NAMES])
def test_every_command_has_help_of_at_most_80_columns(command, capsys):
    assert main.run(["--help"] if command is None else [command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "usage: avi" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_command_is_the_file_of_its_name():
    files = {path.stem for path in (ROOT / "avi" / "cli").glob("*.py")}
    with_one = {name for name in files if "\nCOMMAND = " in source(name)}
    assert with_one == set(NAMES)
    assert [command.name for command in commands().values()] == list(NAMES)


def source(name):
    return (ROOT / "avi" / "cli" / f"{name}.py").read_text()


def test_reading_what_commands_say_of_themselves_imports_no_library():
    program = (
        "import sys; before = set(sys.modules); from avi.cli.command import commands; commands();"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "assert tops - set(sys.stdlib_module_names) == {'avi'}, tops;"
        "assert not {'avi.rundir', 'avi.launch', 'avi.settings'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True)


def test_help_names_every_command_and_train_help_every_setting(capsys):
    main.run([])
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in NAMES)
    main.run(["train", "--help"])
    text = capsys.readouterr().out
    tree = yaml.safe_load((ROOT / "configs" / "train.yaml").read_text())
    assert all(f"train.{key}=" in text for key in tree["train"])
    assert all(f"gap.{key}=" in text for key in tree["gap"])


def test_list_as_json_has_the_same_choices(capsys):
    assert main.run(["list", "prior", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["choice"] for one in found] == [*catalog.groups()["prior"]]
    assert all(one["group"] == "prior" and one["what"] for one in found)


def test_cases_of_verify_as_json_are_all_that_is_printed(workplace, monkeypatch, capsys):
    rows = [suite.Row("linear", "a", 1.0, 1.0, 0.1), suite.Row("linear", "b", 1.0, 2.0, 0.1)]
    monkeypatch.setattr(suite, "names", lambda only: ["a", "b"])
    monkeypatch.setattr(suite, "rows", lambda only: iter(rows))
    assert main.run(["verify", "--json"]) == 10  # one differs, and is there all the same
    found = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["ok"]) for one in found] == [("a", True), ("b", False)]


def test_list_explains_every_choice(capsys):
    assert main.run(["list"]) == 0
    everything = capsys.readouterr().out
    for path in (ROOT / "configs").glob("*/*.yaml"):
        first = path.read_text().splitlines()
        comment = first[0] if not first[0].startswith("# @") else first[1]
        assert comment.startswith("# "), f"{path} begins with its description"
        assert f"\n  {path.stem}" in everything
    assert main.run(["list", "objective"]) == 0
    assert "elbo" in capsys.readouterr().out


def test_list_knows_the_files_of_a_folder_of_ones_own(workplace, monkeypatch, capsys):
    monkeypatch.setenv("AVI_CONFIG_PATH", "")
    (workplace / "conf" / "model").mkdir(parents=True)
    (workplace / "conf" / "model" / "own.yaml").write_text("# A model of one's own\n")
    assert main.run(["list", "-cd", "conf", "model"]) == 0
    assert "A model of one's own" in capsys.readouterr().out


def test_version_is_ours(capsys):
    import avi

    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"avi {avi.__version__}\n"


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m avi list | head -n 1",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("word", ["list", "--version"])
def test_an_answer_that_cannot_be_written_is_one_line(word):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "avi", word],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 6
    assert re.fullmatch(r"avi: .*: No space left on device\.\n", done.stderr)


def code_unheard(*words):
    """Return the exit code of `avi <words>` with nobody to read its standard output."""
    reader, writer = os.pipe()
    os.close(reader)
    nobody = open(writer, "w")  # noqa: SIM115
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", nobody)
        with pytest.raises(SystemExit) as ended:
            main.main(list(words))
        for file in {nobody, sys.stdout}:
            with contextlib.suppress(BrokenPipeError):
                file.close()
    return ended.value.code


@pytest.mark.parametrize(("words", "seeds"), [([], [0]), (["-m", "seed=0,1"], [0, 1])])
def test_training_that_nobody_listens_to_goes_on_to_its_own_exit_code(words, seeds, trainer):
    trainer.fails = {0: NonFiniteError("NaN.")}
    assert code_unheard("train", *words) == 5
    assert trainer.seeds == seeds


def test_a_failure_of_verify_that_nobody_listens_to_is_still_one(workplace, monkeypatch):
    import avi.verify
    from avi.cli import verify

    row = suite.Row("s", "n", 0.0, 1.0, 0.1)
    cases = types.SimpleNamespace(names=lambda only: ["n"], rows=lambda only: [row])
    monkeypatch.setattr(avi.verify, "suite", cases, raising=False)
    monkeypatch.setattr(verify, "_compile_quickly", lambda: None)
    assert code_unheard("verify") == 10


# Mistakes: one line, exit code 2, no traceback.


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "Did you mean avi train?"),
        (["train", "model=vea"], "Did you mean vae?"),
        (["train", "modle=vae"], "Did you mean model?"),
        (["train", "train.epochs=fast"], "expected an integer"),
        (["train", "seed=1", "seed=2"], "seed is given twice, seed=1 and seed=2"),
        (["gap", "run=.", "gap.audit=1", "gap.audit=0"], "gap.audit is given twice"),
        (["train", "hydra/launcher=basic"], "avi starts its jobs by itself"),
        (["train", "hydra.run.dir=x"], "avi starts its jobs by itself"),
        (
            ["train", "model=linear_gaussian", "dataset=linear_gaussian", "likelihood=bernoulli"],
            "LinearGaussian has a likelihood of its own",
        ),
        (["train", "--multi"], "Did you mean --multirun?"),
        (["train", "--cfg"], "--cfg job"),
        (["train", "-cd", "nowhere"], "there is no folder nowhere"),
        (["train", "-m", "resume=x"], "a sweep resumes its jobs by itself"),
        (["train", "-m", "output=x", "seed=1,2"], "a sweep takes sweep="),
        (["train", "resume=nowhere"], "There is no run folder nowhere"),
        (["gap"], "avi gap run=outputs/train/<folder>"),
        (["gap", "run=nowhere"], "There is no run folder nowhere"),
        (["gap", "run=.", "chekpoint=3"], "Did you mean checkpoint?"),
        (["gap", "run=.", "gap=3"], "avi gap does not know gap=3"),
        (["gap", "run=."], "is not a run folder"),
        (["infer", "run=.", "split=tset"], "Did you mean test?"),
        (["infer", "run=.", "data=nowhere.csv"], "there is no such file"),
        (["infer", "run=.", "limit=many"], "expected a whole number"),
        (["infer", "run=.", "tolerance=0"], "tolerance must be positive (nats)"),
        (["infer", "run=.", "budget=many"], "budget: expected"),
        (["infer", "run=.", "draws=-1"], "draws must be 0 or more; got -1"),
        (["infer", "run=.", "psis=true", "certify=false"], "Leave one of the two out."),
        (["infer", "run=.", "cerfity=false"], "Did you mean certify?"),
        (["compare"], "avi compare outputs/train/*"),
        (["compare", "nowhere"], "There is no folder nowhere"),
        (["verify", "onyl=x"], "Did you mean only?"),
        (["list", "modle"], "Did you mean model?"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(words, sentence, workplace, capsys):
    assert main.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1
    assert list(workplace.iterdir()) == []


def test_a_mistake_in_a_real_process_prints_no_traceback(avi, workplace):
    done = avi("train", "dataset=digist")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "digits" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(workplace.iterdir()) == []


# Single runs.


def test_the_composed_config_is_printed_as_plain_yaml(capsys):
    assert main.run(["train", "seed=7", "--cfg", "job"]) == 0
    tree = yaml.safe_load(capsys.readouterr().out)
    assert tree["seed"] == 7
    assert tree["model"]["_target_"] == "avi.models.vae.VAE"


def test_flags_may_stand_anywhere(trainer, capsys):
    assert main.run(["train", "seed=1,2", "-m", "dry_run=true"]) == 0
    assert capsys.readouterr().out.count("new") == 2
    assert trainer.calls == []


def test_a_run_gets_a_new_folder_with_its_name_in_it(trainer, workplace):
    assert main.run(["train", "inference=svi", "seed=3"]) == 0
    assert main.run(["train", "inference=svi", "seed=3"]) == 0
    first, second = trainer.folders
    assert first != second
    assert first.parent == workplace / "outputs" / "train"
    assert "-vae-svi-digits-" in first.name
    tree, choices, words, _, resume = trainer.calls[0]
    assert (tree["seed"], choices["inference"], resume) == (3, "svi", False)
    assert words == ["inference=svi", "seed=3"]
    assert not {"sweep", "dry_run", "hydra"} & set(tree)


def test_nothing_but_the_run_folder_is_written(trainer, workplace):
    main.run(["train", "output=here"])
    main.run(["train", "-m", "seed=1,2", "sweep=there"])
    assert {entry.name for entry in workplace.iterdir()} == {"here", "there"}


def test_the_folder_asked_for_is_taken_as_it_is_written(trainer):
    assert main.run(["train", "output=ü=1,b 空"]) == 0
    assert trainer.folders == [Path("ü=1,b 空")]
    assert trainer.folders[0].is_dir()


def test_a_finished_run_is_not_overwritten_unasked(trainer, capsys):
    assert main.run(["train", "output=here"]) == 0
    assert main.run(["train", "output=here"]) == 3
    assert "overwrite=true" in capsys.readouterr().err
    assert main.run(["train", "output=here", "overwrite=true"]) == 0


def test_the_same_command_goes_on_with_an_interrupted_run(trainer):
    trainer.fails = {0: Preempted("Saved.")}
    assert main.run(["train", "output=here"]) == 75
    trainer.fails = {}
    assert main.run(["train", "output=here", "seed=1"]) == 3  # another run's folder
    assert main.run(["train", "output=here"]) == 0
    assert trainer.resumed == [False, False, True]


def test_resume_takes_the_folders_own_config_with_words_on_top(trainer):
    assert main.run(["train", "output=here", "seed=5", "inference=svi"]) == 0
    assert main.run(["train", "resume=here", "train.epochs=200"]) == 0
    tree, choices, words, folder, resume = trainer.calls[-1]
    assert (tree["seed"], tree["train"]["epochs"], resume) == (5, 200, True)
    assert (choices["inference"], words, folder) == ("svi", ["train.epochs=200"], Path("here"))
    assert main.run(["train", "resume=here", "train.epoch=200"]) == 2
    assert main.run(["train", "resume=here", "model=vae"]) == 2


# Ends.


def test_the_config_of_a_resumed_run_is_printed_and_nothing_trained(trainer, capsys):
    assert main.run(["train", "output=here", "seed=5"]) == 0
    capsys.readouterr()
    assert main.run(["train", "resume=here", "train.epochs=200", "--cfg", "job"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["seed"], printed["train"]["epochs"]) == (5, 200)
    assert not any(trainer.resumed)


def test_a_refusal_ends_with_its_own_code(trainer, capsys):
    trainer.fails = {0: NonFiniteError("The bound is NaN at step 3.")}
    assert main.run(["train"]) == 5
    assert capsys.readouterr().err == "avi: The bound is NaN at step 3.\n"


def test_a_bug_gets_one_line_and_a_traceback_in_the_log(trainer, capsys):
    trainer.fails = {0: ZeroDivisionError("division by zero")}
    assert main.run(["train", "output=here"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "ZeroDivisionError: division by zero" in err
    assert "here/log.txt" in err
    assert "Traceback (most recent call last)" in Path("here/log.txt").read_text()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (SystemExit(75), 75),
        (MemoryError(), 6),
        (OSError(28, "No space left on device", "x"), 6),
        (PermissionError(13, "Permission denied", "x"), 6),
    ],
)
def test_the_machines_errors_have_codes_of_their_own(error, code, trainer):
    trainer.fails = {0: error}
    assert main.run(["train"]) == code


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_a_file_in_the_way_of_a_folder_is_named(out, workplace, capsys):
    (workplace / "taken").touch()
    (workplace / "run").mkdir()
    assert main.run(["compare", "run", f"out={out}"]) == 6
    err = capsys.readouterr().err
    assert err.startswith(f"avi: Cannot write {out}: ")
    assert "A file is in the way of a folder" in err
    assert err.count("\n") == 1


# Sweeps.

SWEEP = ["train", "-m", "inference=svi,amortized", "seed=1"]


def test_a_sweep_runs_every_combination_in_folders_named_by_their_config(trainer, workplace):
    assert main.run(SWEEP) == 0
    assert [choices["inference"] for _, choices, *_ in trainer.calls] == ["svi", "amortized"]
    (sweep,) = {folder.parent for folder in trainer.folders}
    assert sweep.parent == workplace / "outputs" / "sweeps"
    assert sweep.name.startswith("inference-")
    assert trainer.folders[0].name.startswith("vae-svi-digits-1-")
    assert len(set(trainer.folders)) == 2


def test_the_same_sweep_again_skips_what_is_done(trainer, capsys):
    main.run(SWEEP)
    capsys.readouterr()
    assert main.run(SWEEP) == 0
    assert len(trainer.calls) == 2
    out = capsys.readouterr().out
    assert out.count("done already, skipped") == 2
    assert "0 done, 2 skipped, 0 failed" in out


def test_a_sweep_with_more_values_finds_the_jobs_it_has_done(trainer):
    main.run(["train", "-m", "seed=0,1", "train.epochs=3"])
    main.run(["train", "-m", "train.epochs=3", "seed=1,0,2"])
    assert trainer.seeds == [0, 1, 2]
    assert len({folder.parent for folder in trainer.folders}) == 1


def test_other_fixed_settings_make_another_sweep_folder(trainer):
    main.run(["train", "-m", "seed=0,1"])
    main.run(["train", "-m", "seed=0,1", "objective=iwae"])
    assert len({folder.parent for folder in trainer.folders}) == 2


def test_one_failure_does_not_stop_the_others_and_the_job_is_tried_again(trainer, capsys):
    trainer.fails = {1: NonFiniteError("NaN."), 2: ZeroDivisionError("zero")}
    assert main.run(["train", "-m", "seed=1,0,2"]) == 5
    assert trainer.seeds == [1, 0, 2]
    out, err = capsys.readouterr()
    assert "1 done, 0 skipped, 2 failed, 0 interrupted, 0 not started" in out
    assert "exit 5: " in out
    assert "exit 1: " in out
    assert "NaN." in err
    trainer.fails = {}
    assert main.run(["train", "-m", "seed=1,0,2"]) == 0
    assert trainer.seeds[3:] == [1, 2]
    assert trainer.resumed[3:] == [True, True]


def test_a_signal_ends_the_sweep_with_75_before_all_other_codes(trainer, capsys):
    trainer.fails = {0: NonFiniteError("NaN."), 1: Preempted("Saved.")}
    assert main.run(["train", "-m", "seed=0,1,2"]) == 75
    assert trainer.seeds == [0, 1]
    assert "0 done, 0 skipped, 1 failed, 1 interrupted, 1 not started" in capsys.readouterr().out


def test_a_longer_training_goes_on_with_the_runs_of_a_named_sweep(trainer):
    main.run(["train", "-m", "seed=0,1", "sweep=mine", "train.epochs=3"])
    main.run(["train", "-m", "seed=0,1", "sweep=mine", "train.epochs=6"])
    assert trainer.resumed == [False, False, True, True]
    assert trainer.folders[:2] == trainer.folders[2:]


def test_jobs_that_differ_in_their_length_alone_have_folders_of_their_own(trainer):
    assert main.run(["train", "-m", "train.epochs=1,2", "sweep=mine"]) == 0
    assert len(set(trainer.folders)) == 2


def test_the_same_job_twice_is_refused(trainer, capsys):
    assert main.run(["train", "-m", "seed=0,0"]) == 2
    assert "same run" in capsys.readouterr().err


def test_a_wrong_value_in_a_sweep_is_refused_before_any_job_starts(trainer):
    assert main.run(["train", "-m", "seed=0,one"]) == 2
    assert trainer.calls == []


# The other commands hand over what they were given.


WORKERS = {"gap": "avi.run.measure", "infer": "avi.run.posterior"}  # whose `main` does the work


@pytest.fixture
def calls(monkeypatch, workplace):
    """Record the calls of the other commands instead of making them."""
    found = []

    def recorder(name):
        return lambda *arguments: found.append((name, arguments))

    for name, path in WORKERS.items():
        module = types.SimpleNamespace(main=recorder(name))
        package, _, leaf = path.rpartition(".")
        monkeypatch.setitem(sys.modules, path, module)
        monkeypatch.setattr(importlib.import_module(package), leaf, module, raising=False)
    for name in ("compare", "verify"):
        monkeypatch.setattr(f"avi.cli.{name}.main", recorder(name))
    return found


def test_gap_reads_the_runs_own_config_and_changes_what_it_may(trainer, calls):
    main.run(["train", "output=here", "seed=4"])
    before = yaml.safe_load(Path("here/config.yaml").read_text())
    assert main.run(["gap", "run=here", "checkpoint=10", "gap.num_points=7", "evidence=none"]) == 0
    ((name, (run, tree, checkpoint, families, against)),) = calls
    assert (name, run, checkpoint, families, against) == ("gap", Path("here"), 10, {}, None)
    full = yaml.safe_load(catalog.command_file("gap").read_text())["gap"]
    assert tree["gap"] == before["gap"] | full | {"num_points": 7}
    assert tree["evidence"] != before["evidence"]
    assert all(tree[key] == before[key] for key in before if key not in ("gap", "evidence"))
    assert main.run(["gap", "run=here", "gap.num_point=7"]) == 2
    assert main.run(["gap", "run=here", "gap.num_points=-1"]) == 2
    assert main.run(["gap", "run=here", "model=vae"]) == 2
    assert main.run(["gap", "run=here", "evidence=mnist"]) == 2
    assert main.run(["gap", "run=here", "against=nowhere.csv"]) == 2
    assert main.run(["gap", "run=here", "family=[full_rank_gaussian,gaussian]"]) == 2
    calls.clear()
    assert main.run(["gap", "run=here", "family=[full_rank_gaussian,coupling_flow]"]) == 0
    families = calls[0][1][3]
    assert list(families) == ["full_rank_gaussian", "coupling_flow"]
    assert families["coupling_flow"]["latent_size"] == before["model"]["latent_size"]


def test_gap_makes_the_full_report_of_a_run_that_ended_with_a_quick_one(trainer, calls):
    main.run(["train", "output=here", "gap.tolerance=0.003", "gap.num_points=0"])
    assert main.run(["gap", "run=here", "refine=natural_gradient"]) == 0
    tree = calls[0][1][1]
    assert "NaturalGradient" in str(tree["refine"])
    assert tree["gap"]["num_points"] >= 1000
    assert tree["gap"]["seconds"] is None
    assert min(tree["gap"]["simulated"], tree["gap"]["frontier"]) >= 100
    assert tree["gap"]["tolerance"] == 0.003  # as trained: gap.yaml does not name it
    assert "AnnealedImportanceSampling" in str(tree["evidence"])


def test_a_setting_of_the_runs_evidence_keeps_that_evidence(trainer, calls):
    main.run(["train", "output=here", "evidence=ais", "evidence.pilot_chains=3"])
    assert main.run(["gap", "run=here", "evidence.num_chains=8"]) == 0
    evidence = calls[0][1][1]["evidence"]
    assert (evidence["pilot_chains"], evidence["num_chains"]) == (3, 8)


def test_a_hostile_run_folder_is_refused_by_every_command_that_reads_one(calls, workplace):
    run = workplace / "run"
    run.mkdir()
    (run / "config.yaml").write_text("a: !!python/object/apply:os.system ['touch owned']")
    (run / "run.json").write_text(json.dumps({"status": "done"}))
    assert main.run(["gap", "run=run"]) == 2
    assert main.run(["train", "resume=run"]) == 2
    assert not (workplace / "owned").exists()


@pytest.mark.parametrize("command", ["gap", "infer"])
def test_a_bug_in_a_command_on_a_run_is_in_the_runs_log(command, trainer, calls, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("division by zero")

    assert main.run(["train", "output=here"]) == 0
    monkeypatch.setattr(sys.modules[WORKERS[command]], "main", fail)
    assert main.run([command, "run=here"]) == 1
    assert "ZeroDivisionError" in Path("here/log.txt").read_text()


def test_infer_compare_and_verify_get_their_words(calls, workplace):
    for name in ("a b", "c"):
        (workplace / name).mkdir()
    (workplace / "x=1.csv").touch()
    assert main.run(["infer", "run=c", "data=x=1.csv", "limit=5", "hold_out=0.2"]) == 0
    assert main.run(["infer", "run=c", "hold_out=1"]) == 2
    assert (
        main.run(["infer", "run=c", "split=train", "out=null", "certify=false", "mesh.devices=2"])
        == 0
    )
    usual = replace(UNJUDGED, certify=True, budget=50_000)
    quick = replace(usual, certify=False)
    assert main.run(["compare", "a b", "c", "out=o"]) == 0
    assert main.run(["verify", "only=gaussian"]) == 0
    assert calls == [
        ("infer", (Path("c"), usual, "test", Path("x=1.csv"), None, 5, None, [], 0.2)),
        ("infer", (Path("c"), quick, "train", None, None, None, None, ["mesh.devices=2"], 0.0)),
        ("compare", ([Path("a b"), Path("c")], Path("o"))),
        ("verify", ("gaussian",)),
    ]


# For real.

QUICK = ("train.epochs=1", "train.eval_points=20", "train.eval_draws=2", "gap.num_points=0")


@pytest.mark.slow
def test_a_real_run_ends_with_a_report_if_wanted_and_resumes_to_more_epochs(avi, workplace):
    page = workplace / "here" / "report.html"
    done = avi("train", *QUICK, "train.report=false", "output=here")
    assert done.returncode == 0, done.stderr
    record = json.loads((workplace / "here" / "run.json").read_text())
    assert record["status"] == "done"
    assert record["choices"]["dataset"] == "digits"
    assert not page.exists()
    assert avi("train", *QUICK, "train.report=false", "output=here").returncode == 3
    longer = avi("train", "resume=here", "train.epochs=2", "train.report=true")
    assert longer.returncode == 0, longer.stderr
    assert page.is_file()
    lines = (workplace / "here" / "metrics.jsonl").read_text().splitlines()
    assert max(json.loads(line)["epoch"] for line in lines) == 2


def test_a_dry_run_refuses_what_a_run_would(trainer, capsys):
    assert main.run(["train", "model.latent_size=-3", "dry_run=true"]) == 2
    assert main.run(["train", "model.latent_size=2,-3", "-m", "dry_run=true"]) == 2
    assert capsys.readouterr().err.count("latent_size") == 2


def test_a_likelihood_is_chosen_beside_the_model(trainer, capsys):
    assert main.run(["train", "model.likelihood=poisson"]) == 2
    assert "Try likelihood=poisson." in capsys.readouterr().err
    assert main.run(["train", "likelihood=poisson"]) == 0
