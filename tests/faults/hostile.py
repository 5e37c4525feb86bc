"""Run folders and files as somebody who means harm, or a broken disk, would hand them over.

Each function spoils a copy of a good run. The commands that must refuse it stand beside its name;
the others may read it, as what is spoiled is nothing to them.
"""

import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from safetensors.numpy import load, save

COMMANDS = ("resume", "gap", "infer", "start", "compare", "report")
STATEFUL = ("resume", "gap", "infer", "start")  # those that read config and checkpoint
SECRET = "the-secret-of-another-person"
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


class Hostile(NamedTuple):
    """How to spoil a run folder, and which commands have to refuse it."""

    spoil: Callable[[Path], None]
    refused_by: tuple[str, ...]


CORPUS: dict[str, Hostile] = {}


def hostile(name: str, *refused_by: str):
    """Add a function to the corpus."""

    def add(spoil: Callable[[Path], None]) -> Callable[[Path], None]:
        assert name not in CORPUS
        CORPUS[name] = Hostile(spoil, refused_by)
        return spoil

    return add


def replaced(path: Path) -> Path:
    """Return `path` after removing what is there."""
    if path.is_dir() and not path.is_symlink():
        for entry in path.iterdir():
            replaced(entry)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# config.yaml: text that another yaml reader would act on ------------------------------------------

TEXTS = {
    "tag calls os.system": "!!python/object/apply:os.system ['touch owned']",
    "tag makes an object": "!!python/object/new:os.system ['touch owned']",
    "tag names a function": "seed: !!python/name:os.system ''",
    "tag imports a module": "seed: !!python/module:evil ''",
    "anchor bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "alias": "a: &a {seed: 0}\nb: *a",
    "merge key": "a: &a {seed: 0}\n<<: *a",
    "deep brackets": "a: " + "[" * 60000,
    "deep blocks": "".join(" " * depth + "a:\n" for depth in range(300)),
    "deep questions": "? " * 20000,
    "not utf-8": b"seed: \xff\xfe",
    "nul": "seed: \x00",
    "half a surrogate": 'seed: "\\uD800"',
    "a list": "- 1",
    "empty": "",
    "number too long": "seed: " + "9" * 5000,
    "hexadecimal giant": "seed: 0x" + "f" * 20000,
    "other documents": "seed: 0\n---\nseed: 1",
}
for _name, _text in TEXTS.items():

    @hostile(f"config {_name}", *STATEFUL)
    def _(run: Path, text=_text) -> None:
        (run / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())


# config.yaml: plain yaml that says what must not be done -----------------------------------------

OWN = "avi.models.vae.VAE"
CHANGES = {
    "target os.system": ("model._target_", "os.system"),
    "target eval": ("model._target_", "builtins.eval"),
    "target Popen": ("likelihood._target_", "subprocess.Popen"),
    "target numpy.load": ("dataset", {"_target_": "numpy.load", "file": "x", "allow_pickle": True}),
    "target numpy.savetxt": ("dataset", {"_target_": "numpy.savetxt", "fname": "owned", "X": [1]}),
    "target open": ("dataset", {"_target_": "builtins.open", "file": "owned", "mode": "w"}),
    "target write_text": ("dataset._target_", "pathlib.Path.write_text"),
    "target evil": ("refine._target_", "evil.Component"),
    "target avi.cli.main": ("model._target_", "avi.cli.main.main"),
    "target download": ("dataset._target_", "avi.datasets.fetch.download"),
    "target through a module": ("dataset._target_", "avi.datasets.fetch.os.system"),
    "target private": ("dataset._target_", "avi.datasets.file._compact"),
    "target optax private": ("optimizer.theta._target_", "optax._src.base.sys.exit"),
    "target optax other": ("optimizer.theta._target_", "optax.apply_if_finite"),
    "target is a list": ("model._target_", ["avi.models.vae.VAE"]),
    "target empty": ("model._target_", ""),
    "target climbs": ("model._target_", "avi.models.....os.system"),
    "environment": ("output", "${oc.env:HOME}"),
    "interpolation": ("seed", "${seed}"),
    "resolver": ("model.latent_size", "${oc.decode:'1'}"),
    "partial": ("model._partial_", True),
    "args": ("model._args_", [1]),
    "defaults": ("defaults", ["evil"]),
    "hydra": ("hydra", {"searchpath": ["file:///tmp"]}),
    "unknown key": ("model.owned", 1),
    "seed text": ("seed", "0; touch owned"),
    "seed list": ("seed", [0]),
    "seed negative": ("seed", -1),
    "epochs true": ("train.epochs", True),
    "epochs giant": ("train.epochs", 10**30),
    "epochs infinite": ("train.epochs", float("inf")),
    "train is a list": ("train", []),
    "model is text": ("model", "vae"),
    "latent negative": ("model.latent_size", -2),
    "latent zero": ("model.latent_size", 0),
    "width zero": ("model.decoder.widths", [0]),
    "widths nested": ("model.decoder.widths", [[8]]),
    "learning rate text": ("optimizer.theta.learning_rate", SCRIPT),
    "learning rate nan": ("optimizer.theta.learning_rate", float("nan")),
    "optimizer missing": ("optimizer", {}),
    "device unknown": ("device", "/dev/zero"),
    "precision unknown": ("precision", "int8"),
}


def change(run: Path, key: str, value: object) -> None:
    """Set one key of config.yaml."""
    tree = yaml.safe_load((run / "config.yaml").read_text())
    node = tree
    *parents, last = key.split(".")
    for name in parents:
        node = node[name]
    node[last] = value
    (run / "config.yaml").write_text(yaml.safe_dump(tree))


for _name, (_key, _value) in CHANGES.items():
    # train.start reads parameters: of the configuration only what identifies it.
    @hostile(f"config {_name}", "resume", "gap", "infer")
    def _(run: Path, key=_key, value=_value) -> None:
        change(run, key, value)


# Data that the configuration names ---------------------------------------------------------------


class Evil:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch owned",)


def _npy(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _zipped(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def _objects(write: Callable) -> bytes:
    buffer = io.BytesIO()
    write(buffer, np.array([[Evil()]], object))
    return buffer.getvalue()


FILE = {
    "_target_": "avi.datasets.file.File",
    "path": None,
    "array": None,
    "header": None,
    "support": "binary",
    "missing": "refuse",
    "white": 1,
    "binarize": "none",
    "binarize_seed": 0,
    "image_shape": None,
    "valid_fraction": 0.1,
    "test_fraction": 0.1,
    "shuffle": True,
    "split_seed": 0,
}
DATA = {
    "pickle.npy": lambda: pickle.dumps(Evil()),
    "objects.npy": lambda: _objects(lambda file, array: np.save(file, array, allow_pickle=True)),
    "objects.npz": lambda: _objects(np.savez),
    "tebibytes.npy": lambda: _npy("(1099511627776, 64)"),
    "tebibytes.npz": lambda: _zipped("x.npy", _npy("(1099511627776, 64)")),
    "bomb.npz": lambda: _zipped("x.npy", _npy("(100, 64)") + bytes(10**7)),
    "structured.npy": lambda: _npy("(3, 2)", "[('a', '<f4')]"),
    "climbing.npz": lambda: _zipped("../../owned.npy", b"x"),
    "code.npy": lambda: _npy("(__import__('os').system('touch owned'),)"),
    "script.csv": lambda: f"a,b\n1,{SCRIPT}\n".encode(),
    "nul.csv": lambda: b"a,b\n\x00,1\n",
    "ragged.csv": lambda: b"1,2\n3\n",
    "one line.csv": lambda: b"1" * 10**6,
}
for _name, _content in DATA.items():

    @hostile(f"data {_name}", "resume", "gap", "infer")
    def _(run: Path, name=_name, content=_content) -> None:
        (run.parent / name).write_bytes(content())
        _name_data(run, run.parent / name)


def _name_data(run: Path, path: Path) -> None:
    change(run, "dataset", FILE | {"path": str(path)})


for _name, _make in {
    "device": lambda path: path.symlink_to("/dev/zero"),
    "pipe": os.mkfifo,
    "folder": os.mkdir,
}.items():

    @hostile(f"data is a {_name}", "resume", "gap", "infer")
    def _(run: Path, make=_make) -> None:
        make(run.parent / "rows.npy")
        _name_data(run, run.parent / "rows.npy")


# What is not a file, or leads elsewhere -----------------------------------------------------------

FILES = {
    "config.yaml": STATEFUL,
    "run.json": ("resume",),
    "metrics.jsonl": ("resume",),
    "timing.jsonl": ("resume",),
    "checkpoints": STATEFUL,
    "snapshot.npz": (),
    "gap/summary.json": (),
    "gap/points.csv": (),
    ".lock": (),
}


def _link_to_secret(path: Path) -> None:
    secret = path.parent / "elsewhere"
    secret.mkdir(exist_ok=True)
    (secret / "secret").write_text(SECRET)
    path.symlink_to(secret / "secret")


KINDS = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to a secret": _link_to_secret,
    "sparse giant": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**41),
}
for _file, _refused in FILES.items():
    for _kind, _make in KINDS.items():
        # A link is refused by all that open the folder to go on with it.
        _all = STATEFUL if "link" in _kind or "device" in _kind else ()
        if _file in (".lock", "gap/summary.json", "gap/points.csv"):
            _all = ()

        @hostile(f"{_file} is a {_kind}", *(_all or _refused))
        def _(run: Path, file=_file, make=_make) -> None:
            make(replaced(run / file))


for _name in ("gap", "infer", "checkpoints", "log.txt", "report.html", "nan_dump.npz"):

    @hostile(f"{_name} leads out of the folder", *STATEFUL)
    def _(run: Path, name=_name) -> None:
        outside = run.parent / "outside"
        outside.mkdir()
        replaced(run / name).symlink_to(outside)


# Checkpoints whose hashes are right: whoever can write the file can write its hash ----------------


def newest(run: Path) -> Path:
    """Return the newest checkpoint."""
    return max((run / "checkpoints").iterdir())


def forge(run: Path, state: bytes, **fields: object) -> None:
    """Replace every checkpoint's arrays, with a manifest that verifies."""
    for folder in (run / "checkpoints").iterdir():
        record = json.loads((folder / "manifest.json").read_text())
        record |= {"num_bytes": len(state), "sha256": hashlib.sha256(state).hexdigest()} | fields
        (folder / "state.safetensors").write_bytes(state)
        (folder / "manifest.json").write_text(json.dumps(record))


def manifest(run: Path, **fields: object) -> None:
    """Change fields of every manifest."""
    for folder in (run / "checkpoints").iterdir():
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _headed(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


STATES = {
    "empty": b"",
    "header of exabytes": _headed(b"{}", length=2**62),
    "header not json": _headed(b"{{{{"),
    "header nested": _headed(b'{"a":' + b"[" * 100000),
    "header a list": _headed(b"[]"),
    "offsets overlap": _headed(
        json.dumps(
            {n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in ("a", "b")}
        ).encode(),
        bytes(8),
    ),
    "offsets outside": _headed(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999]}}', bytes(8)
    ),
    "offsets negative": _headed(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}'),
    "shape overflows": _headed(
        b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'
    ),
    "dtype unknown": _headed(b'{"a":{"dtype":"O","shape":[1],"data_offsets":[0,8]}}', bytes(8)),
    "dtype bfloat": _headed(b'{"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}', bytes(8)),
    "a pickle": pickle.dumps(Evil()),
    "no arrays": _headed(b"{}"),
}
for _name, _state in STATES.items():

    @hostile(f"state {_name}", *STATEFUL)
    def _(run: Path, state=_state) -> None:
        forge(run, state, tensors={})


def _edited(run: Path, edit: Callable[[dict], None]) -> None:
    arrays = load((newest(run) / "state.safetensors").read_bytes())
    edit(arrays)
    tensors = {name: [list(a.shape), a.dtype.name] for name, a in arrays.items()}
    forge(run, save(arrays), tensors=tensors)


def _weight(arrays: dict) -> str:
    return next(name for name in arrays if name.startswith(".params.theta") and "kernel" in name)


@hostile("state of other shapes", *STATEFUL)
def _(run: Path) -> None:
    _edited(run, lambda a: a.update({_weight(a): a[_weight(a)].T.copy()}))


@hostile("state of other dtypes", *STATEFUL)
def _(run: Path) -> None:
    _edited(run, lambda a: a.update({_weight(a): a[_weight(a)].astype(np.float64)}))


@hostile("state lacks an array", *STATEFUL)
def _(run: Path) -> None:
    _edited(run, lambda a: a.pop(_weight(a)))


@hostile("state has names that climb", "resume", "gap", "infer")
def _(run: Path) -> None:
    _edited(run, lambda a: a.update({"../../owned": np.zeros(1), SCRIPT: np.zeros(1)}))


@hostile("state of a negative step", "resume", "gap", "infer")
def _(run: Path) -> None:
    _edited(run, lambda a: a.update({".step": np.asarray(-5, np.int32)}))


MANIFESTS = {
    "negative offset": {"metrics_offset": -1},
    "offset beyond the log": {"metrics_offset": 2**50},
    "offset text": {"metrics_offset": "0"},
    "size of exabytes": {"num_bytes": 2**52},
    "size true": {"num_bytes": True},
    "hash wrong": {"sha256": "0" * 64},
    "hash a path": {"sha256": "../../etc/passwd"},
    "config hash wrong": {"config_sha256": "0" * 64},
    "step text": {"step": "1"},
    "step of another": {"step": 10**6},
    "tensors a list": {"tensors": []},
    "tensor shapes overflow": {"tensors": {"a": [[2**40, 2**40], "float32"]}},
    "tensor of objects": {"tensors": {"a": [[1], "object"]}},
    "versions numbers": {"versions": {"jax": 1}},
    "seconds text": {"extra": {"seconds": "__import__('os')"}},
    "seconds a list": {"extra": {"seconds": [1]}},
    "unknown field": {"owned": 1},
}
for _name, _fields in MANIFESTS.items():
    _by = ("resume",) if _name == "offset beyond the log" else STATEFUL

    @hostile(f"manifest {_name}", *_by)
    def _(run: Path, fields=_fields) -> None:
        manifest(run, **fields)


@hostile("manifest nested", *STATEFUL)
def _(run: Path) -> None:
    for folder in (run / "checkpoints").iterdir():
        (folder / "manifest.json").write_text('{"step":' * 100000)


@hostile("manifest huge", *STATEFUL)
def _(run: Path) -> None:
    for folder in (run / "checkpoints").iterdir():
        (folder / "manifest.json").write_text(json.dumps({"extra": "x" * 2**25}))


for _part in ("manifest.json", "state.safetensors"):
    for _kind, _make in KINDS.items():
        if _kind.startswith("link"):
            continue

        @hostile(f"{_part} is a {_kind}", *STATEFUL)
        def _(run: Path, part=_part, make=_make) -> None:
            for folder in (run / "checkpoints").iterdir():
                make(replaced(folder / part))


@hostile("checkpoints are files", *STATEFUL)
def _(run: Path) -> None:
    for folder in list((run / "checkpoints").iterdir()):
        replaced(folder).write_text("x")


@hostile("no checkpoints", *STATEFUL)
def _(run: Path) -> None:
    replaced(run / "checkpoints")


# run.json, logs and results -----------------------------------------------------------------------

RUN = {
    "starts a number": {"starts": 1},
    "choices a list": {"choices": [1]},
    "status a list": {"status": ["done"]},
}
for _name, _fields in RUN.items():

    @hostile(f"run.json {_name}", "resume")
    def _(run: Path, fields=_fields) -> None:
        path = run / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))


for _name, _text in {"nested": '{"a":' * 100000, "a list": "[]", "not json": "{'a': 1}"}.items():

    @hostile(f"run.json {_name}", "resume")
    def _(run: Path, text=_text) -> None:
        (run / "run.json").write_text(text)


@hostile("run.json full of scripts")
def _(run: Path) -> None:
    path = run / "run.json"
    record = json.loads(path.read_text())
    texts = {name: SCRIPT for name, value in record.items() if isinstance(value, str)}
    more = {"choices": dict.fromkeys(record["choices"], SCRIPT), "remarks": [SCRIPT]}
    more |= {"overrides": [SCRIPT, "\x1b]0;owned\x07"], "image_shape": SCRIPT}
    path.write_text(json.dumps(record | texts | more | {"status": "done"}))


@hostile("run.json of other types everywhere")
def _(run: Path) -> None:
    path = run / "run.json"
    odd = [None, [], {}, [[]], "", -1, 1e308, 10**400, True, "NaN", SCRIPT]
    record = json.loads(path.read_text())
    kept = {name: record[name] for name in ("status", "choices", "starts")}
    path.write_text(
        json.dumps({name: odd[number % len(odd)] for number, name in enumerate(record)} | kept)
    )


LOGS = {
    "values are scripts": json.dumps({"step": 1, "split": SCRIPT, "value": SCRIPT}) + "\n",
    "values are missing": '{"step": 1, "split": "test"}\n',
    "not objects": "[1]\n[2]\n",
    "not json": "hello\nworld\n",
    "nested": '{"a":' * 50000 + "\n{}\n",
    "NaN": '{"step": 1, "split": "test", "value": NaN, "standard_error": 1}\n{}\n',
}
for _name, _text in LOGS.items():

    @hostile(f"metrics.jsonl {_name}", "resume")
    def _(run: Path, text=_text) -> None:
        (run / "metrics.jsonl").write_text(text)
        manifest(run, metrics_offset=len(text.encode()))


PARTS = {
    "keys missing": {"row": 1},
    "lam text": {"row": 1, "start": 0, "lam": SCRIPT},
    "lam too long": {"row": 1, "start": 0, "lam": [0.0] * 5},
    "lam infinite": {"row": 1, "start": 0, "lam": [0.0, 0.0, 0.0, 1e400]},
    "lam nested": {"row": 1, "start": 0, "lam": [[0.0] * 4]},
    "lam a giant": {"row": 1, "start": 0, "lam": [10**400] * 4},
    "row text": {"row": SCRIPT, "start": 0, "lam": [0.0] * 4},
    "row infinite": {"row": 1e400, "start": 0, "lam": [0.0] * 4},
}
for _name, _fields in PARTS.items():

    @hostile(f"gap parts {_name}", "gap")
    def _(run: Path, fields=_fields, missing=_name == "keys missing") -> None:
        parts = run / "gap" / "parts"
        parts.mkdir(parents=True)
        (parts / "identity.txt").write_text("forged")
        rest = {"certificate": 0.0, "certificate_se": 0.0, "positive": True, "guarantee": None}
        rest |= {"ending": "certified", "gradient_evaluations": 1}
        line = fields if missing else fields | rest
        # What overflows is written as 1e400, which strict JSON allows.
        text = json.dumps(line).replace("Infinity", "1e400")
        (parts / "search.jsonl").write_text(text + "\n")


ESTIMATES = {
    "text": {"row": 1, "by": "x", "lam": [], "estimate": [SCRIPT] * 5},
    "too many": {"row": 1, "by": "x", "lam": [], "estimate": [0.0] * 6},
    "a number": {"row": 1, "by": "x", "lam": [], "estimate": 1.0},
    "without lam": {"row": 1, "by": "x", "lam": None, "estimate": [0.0] * 5},
}
for _name, _fields in ESTIMATES.items():

    @hostile(f"gap parts estimate {_name}", "gap")
    def _(run: Path, fields=_fields) -> None:
        parts = run / "gap" / "parts"
        parts.mkdir(parents=True)
        (parts / "identity.txt").write_text("forged")
        (parts / "evidence.jsonl").write_text(json.dumps(fields) + "\n")


@hostile("gap parts lead elsewhere", "gap")
def _(run: Path) -> None:
    outside = run.parent / "outside"
    outside.mkdir()
    (run / "gap").mkdir(exist_ok=True)
    (run / "gap" / "parts").symlink_to(outside)


@hostile("gap full of scripts")
def _(run: Path) -> None:
    one = {name: {"mean": SCRIPT, "se": SCRIPT} for name in ("bound", "evidence", "certificate")}
    one |= {"n": SCRIPT, "converged": SCRIPT, "amortization_gap": {"mean": 1.0, "se": SCRIPT}}
    summary = {"gap_name": SCRIPT, "bound": SCRIPT, "splits": {"test": one, SCRIPT: one}}
    summary |= {"validity": SCRIPT, "skipped": [SCRIPT], "num_draws": SCRIPT, "tolerance": SCRIPT}
    (run / "gap").mkdir(exist_ok=True)
    (run / "gap" / "summary.json").write_text(json.dumps(summary))
    (run / "gap" / "points.csv").write_text(f"row,split,{SCRIPT}\n1,{SCRIPT},2,3,4\n")


SNAPSHOTS = {
    "objects": lambda: _objects(np.savez),
    "tebibytes": lambda: _zipped("inputs.npy", _npy("(1099511627776, 64)")),
    "bomb": lambda: _zipped("inputs.npy", _npy("(524288, 64)") + bytes(2**27)),
    "many bombs": lambda: _many_bombs(100),
    "code": lambda: _zipped("inputs.npy", _npy("(__import__('os').system('touch owned'),)")),
    "nested": lambda: _zipped("inputs.npy", _npy("(" * 3000)),
    "twice": lambda: _arrays(inputs=np.zeros((2, 64))) * 2,
    "pickle": lambda: pickle.dumps(Evil()),
    "strange shapes": lambda: _arrays(
        inputs=np.zeros((0, 3)), latent_mean=np.zeros((2, 0)), image_shape=np.array([-1, 2**31])
    ),
    "numbers not finite": lambda: _arrays(
        inputs=np.full((2, 64), np.nan), latent_mean=np.full((2, 2), np.inf), labels=np.zeros(9)
    ),
    "labels are scripts": lambda: _arrays(
        latent_mean=np.zeros((2, 2)), labels=np.array([SCRIPT, SCRIPT])
    ),
}


def _many_bombs(number: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(number):
            archive.writestr(f"a{place}.npy", _npy("(131072,)", "'|u1'") + bytes(2**20))
    return buffer.getvalue()


def _arrays(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@cache
def _snapshot(name: str) -> bytes:
    return SNAPSHOTS[name]()


for _name in SNAPSHOTS:

    @hostile(f"snapshot {_name}")
    def _(run: Path, name=_name) -> None:
        (run / "snapshot.npz").write_bytes(_snapshot(name))
