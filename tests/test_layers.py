"""Imports go down only: the table of layers, read from the source."""

import ast
from pathlib import Path

import pytest

import avi

ROOT = Path(avi.__file__).parent
COMPONENTS = (
    "models",
    "likelihoods",
    "families",
    "inference",
    "refine",
    "objectives",
    "evidence",
    "optimizers",
    "datasets",
)
# From top to bottom. A module imports from lower lines only, or from its own package.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("dispatch",),
    ("guide", "completion", "launch"),
    ("config", "pool"),
    ("commands",),
    ("snapshot", "topics", "new_observation", "gap", "progress", "verify"),
    ("session",),
    ("loading", "report"),
    ("experiment",),
    ("evaluation", "training"),
    ("problem", "products"),
    COMPONENTS,
    ("networks", "natural", "conjugate", "rows", "randomness", "devices", "rundir", "signals"),
    ("feed",),
    ("sparse", "threefry"),
    ("types",),
    ("outcome", "catalog", "schema", "plain_yaml"),
    ("errors", "settings"),
    ("__init__",),
)
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
FILES = sorted(ROOT.rglob("*.py"))
NO_JAX = ("cli", "dispatch", "guide", "completion", "launch", "config", "pool", "loading", "report")
NO_JAX_EITHER = ("rundir", "errors", "settings", "outcome", "catalog", "schema", "plain_yaml")


def name_of(path: Path) -> str:
    """Return the first part of a module's name within avi."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(node: ast.AST) -> list[str]:
    """Return the full names that one import statement asks for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module == "avi":
        return [f"avi.{alias.name}" for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def imports(path: Path, *, anywhere: bool = True) -> set[str]:
    """Return what a file imports: anywhere, or only while it is itself being imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree)) if anywhere else list(tree.body)
    return {name for node in nodes for name in imported(node)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_has_a_layer(path):
    assert name_of(path) in DEPTH


def test_every_layer_holds_modules_that_exist():
    assert set(DEPTH) == {name_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    own = name_of(path)
    for name in imports(path):
        if not name.startswith("avi."):
            continue
        other = name.split(".")[1]
        if other not in DEPTH:  # a name of avi/__init__.py itself
            assert hasattr(avi, other)
        elif other != own:
            assert DEPTH[own] < DEPTH[other], f"{own} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_config_imports_hydra_and_only_networks_import_flax(path):
    tops = {name.split(".")[0] for name in imports(path)}
    assert not tops & {"hydra", "omegaconf"} or name_of(path) == "config"
    assert "flax" not in tops or name_of(path) == "networks"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_absolute(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert all(node.level == 0 for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if name_of(path) in (*NO_JAX, *NO_JAX_EITHER)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_what_answers_before_training_imports_no_jax(path):
    tops = {name.split(".")[0] for name in imports(path, anywhere=False)}
    assert not tops & {"jax", "jaxlib", "flax", "optax", "numpyro", "blackjax"}


def test_the_entry_module_imports_nothing_but_sys_and_os():
    assert imports(ROOT / "cli.py", anywhere=False) == {"os", "sys"}
    assert imports(ROOT / "__init__.py", anywhere=False) == set()
