"""What the documentation tells people to type works as written."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_model_of_contributing_trains_as_written(tmp_path: Path) -> None:
    examples = dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text()))
    command = shlex.split(examples.pop("command"))
    for name, text in examples.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "mymodels" / "__init__.py").touch()
    environment = dict(word.split("=", 1) for word in command[: command.index("avi")])
    result = avi(command[command.index("avi") + 1 :], tmp_path, **environment)
    assert result.returncode == 0, result.stderr
    report = Path(result.stdout.strip().splitlines()[-1])
    assert (tmp_path / report).name == "report.html"
    assert "RobustFactors" in (tmp_path / report).with_name("config.yaml").read_text()


@pytest.mark.parametrize(
    "line",
    [
        line.partition("#")[0].strip()
        for line in re.findall(r"^avi train .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
        if "<" not in line and "start=" not in line
    ],
)
def test_the_commands_of_the_readme_compose(line: str, tmp_path: Path) -> None:
    words = shlex.split(line)[1:]
    if "--cfg" not in words:
        words.append("dry_run=true")
    result = avi(words, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout
