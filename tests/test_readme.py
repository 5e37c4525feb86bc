"""What the documentation tells people to type works as written."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from avi.cli import main

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"<!-- example: (?P<name>\S+) -->\n```\w*\n(?P<text>.*?)```", re.DOTALL)


def avi(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run `avi` in `folder` with this Python."""
    return subprocess.run(
        [sys.executable, "-m", "avi", *words],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _carried_out(command, folder):
    environment = dict(word.split("=", 1) for word in command[: command.index("avi")])
    return avi(command[command.index("avi") + 1 :], folder, **environment)


def _written_out(page: str, folder: Path, package: str | None = None) -> list[list[str]]:
    """Write the files of a page's examples into `folder`; return its commands."""
    blocks = BLOCK.findall((ROOT / page).read_text())
    for name, text in blocks:
        if name == "command":
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if package is not None:
        (folder / package / "__init__.py").touch()
    return [shlex.split(text) for name, text in blocks if name == "command"]


def test_a_numpyro_function_is_trained_as_written(tmp_path: Path) -> None:
    commands = _written_out("docs/bring-a-numpyro-model.md", tmp_path, "mine")
    assert len(commands) == 2
    for command in commands:
        result = _carried_out(command, tmp_path)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / result.stdout.strip().splitlines()[-1]).is_file()


def test_weights_are_brought_as_written(workplace: Path, capsys) -> None:
    """In this process: jax is imported once, and what both imports compute compiles once."""
    commands = _written_out("docs/bring-weights.md", workplace)
    subprocess.run([sys.executable, "save.py"], cwd=workplace, check=True)
    said = []
    for _, *words in commands:
        assert main.run(words) == 0, capsys.readouterr().err
        said.append(capsys.readouterr().out)
    imported, measured, again = said
    assert "10 tensors make 8 parameters" in imported
    assert "test  amortization gap" in measured
    bounds = [re.findall(r"^test  ELBO .*", text, re.MULTILINE) for text in (imported, again)]
    assert bounds[0] == bounds[1] != []  # the map that is written out is the one of that name


def test_runs_are_exported_and_tracked_as_written(workplace: Path, capsys, monkeypatch) -> None:
    commands = _written_out("docs/export.md", workplace, "mine")
    for command in commands:
        _typed_here(command, monkeypatch)
    subprocess.run([sys.executable, "read.py"], cwd=workplace, check=True, capture_output=True)
    assert {path.name for path in Path("tables").iterdir()} >= {"metrics.csv", "posterior.csv"}
    assert Path("bounds.txt").read_text().splitlines()[-1].startswith("test ")


def _typed_here(command: list[str], monkeypatch) -> None:
    """Carry out a command in this process, where jax is imported already."""
    for word in command[: command.index("avi")]:
        name, _, value = word.partition("=")
        monkeypatch.setenv(name, value)
        for module in [one for one in sys.modules if one.partition(".")[0] == "mine"]:
            monkeypatch.delitem(sys.modules, module)  # of another page
        if name == "PYTHONPATH":
            monkeypatch.syspath_prepend(str(Path(value).absolute()))
    assert main.run(command[command.index("avi") + 1 :]) == 0


def test_the_components_of_contributing_train_and_are_verified_as_written(tmp_path: Path) -> None:
    commands = _written_out("CONTRIBUTING.md", tmp_path, "mymodels")
    results = [_carried_out(command, tmp_path) for command in commands]
    for one in results:
        assert one.returncode == 0, one.stdout + one.stderr
    assert len(results) == 6
    trained = {0: ["RobustFactors"], -1: ["Moons", "Shortcut", "LaplacePrior", "Constant"]}
    for position, names in trained.items():
        report = tmp_path / results[position].stdout.strip().splitlines()[-1]
        assert report.name == "report.html"
        config = report.with_name("config.yaml").read_text()
        assert all(f".{name}" in config for name in names)


@pytest.mark.parametrize(
    "line",
    [
        line.partition("#")[0].strip()
        for page in ("README.md", "docs/what-you-can-type.md", "docs/clusters.md")
        for line in re.findall(r"^avi train .*$", (ROOT / page).read_text(), re.MULTILINE)
        if "<" not in line and "start=" not in line
    ],
)
def test_the_commands_at_a_glance_compose(line: str, workplace: Path, capsys) -> None:
    words = shlex.split(line)[1:]
    if "--cfg" not in words:
        words.append("dry_run=true")
    assert main.run(words) == 0, capsys.readouterr().err
    assert capsys.readouterr().out
