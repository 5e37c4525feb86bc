"""Imports go down only: the table of rooms, read from the source."""

import ast
from pathlib import Path

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
# From top to bottom. A module imports from lower lines only, or from its own room.
LAYERS = (
    ("__main__", "api"),
    ("cli",),
    ("launch", "verify"),
    ("run",),
    ("calibrate",),
    ("config", "gap", "report", "exports"),
    ("contracts", "weights", "comparison"),
    ("experiment", "engine", "results"),
    ("problem",),
    COMPONENTS,
    ("priors",),
    ("networks", "conjugate", "phi", "population", "randomness"),
    ("ragged", "mapped", "abilities"),
    ("types",),
    ("rundir", "process"),
    ("errors", "settings"),
    ("__init__",),
)
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
FILES = sorted(ROOT.rglob("*.py"))
NO_JAX = (
    *("cli", "launch", "config", "report", "exports", "comparison", "results", "weights"),
    *("rundir", "process", "errors", "settings"),
)
OF_JAX = {"jax", "jaxlib", "flax", "optax", "numpyro", "blackjax"}


def room_of(path: Path) -> str:
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


def test_imports_go_down_only():
    assert set(DEPTH) == {room_of(path) for path in FILES}
    up = []
    for path in FILES:
        own = room_of(path)
        for name in imports(path):
            other = name.partition("avi.")[2].split(".")[0]
            if other in DEPTH and other != own and DEPTH[own] >= DEPTH[other]:
                up.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not up


def module_of(path: Path) -> str:
    """Return the full name of a file's module."""
    name = ".".join(("avi", *path.relative_to(ROOT).with_suffix("").parts))
    return name.removesuffix(".__init__")


def test_no_module_needs_itself_in_the_end():
    """Imports under TYPE_CHECKING and inside functions counted."""
    needs = {module_of(path): set[str]() for path in FILES}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in imported(node):
                names = getattr(node, "names", []) if isinstance(node, ast.ImportFrom) else []
                inside = {f"{name}.{alias.name}" for alias in names} & needs.keys()
                needs[module_of(path)] |= inside or ({name} & needs.keys())
    left = dict(needs)
    while leaves := [name for name, others in left.items() if not others & left.keys()]:
        left = {name: others for name, others in left.items() if name not in leaves}
    assert not left, sorted(left)


def test_heavy_libraries_have_one_door_each():
    doors = {"hydra": "config", "omegaconf": "config", "flax": "networks"}
    for path in FILES:
        for name in imports(path):
            top = name.split(".")[0]
            assert doors.get(top) in (None, room_of(path)), path


def test_imports_are_absolute():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert all(node.level == 0 for node in found), path


def test_what_answers_before_training_imports_no_jax():
    for path in FILES:
        if room_of(path) in NO_JAX:
            tops = {name.split(".")[0] for name in imports(path, anywhere=False)}
            assert not tops & OF_JAX, path
    assert imports(ROOT / "cli" / "main.py", anywhere=False) == {"os", "sys"}
    assert imports(ROOT / "__init__.py", anywhere=False) == {"importlib", "typing"}


def test_pages_are_made_from_records_only():
    """No page knows a file's format: it reads no file itself, and decodes none."""
    of_files = ("csv", "yaml", "avi.rundir", "avi.datasets")
    for path in (ROOT / "report").rglob("*.py"):
        assert not [name for name in imports(path) if name.startswith(of_files)], path
        assert "json.load" not in path.read_text(encoding="utf-8"), path
