"""Parameters that another program has trained: a file of tensors, named into a problem's own."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from avi.config import catalog
from avi.config.schema import nearest
from avi.errors import ConfigError, DataError
from avi.inference.amortized import Amortized
from avi.inference.refined import Refined
from avi.models.vae import VAE
from avi.networks.mlp import MLP
from avi.problem import Problem
from avi.results.weights import Weights
from avi.settings import TrainSettings
from avi.types import Params
from avi.weights.fill import Shapes, fill
from avi.weights.name_map import read_map
from avi.weights.tensors import read_tensors

MAPS = "weights_map"  # the group of the maps that avi brings
OF_PARAMS = Params("", "encoder", "family")  # what a parameter's name begins with


class Brought(NamedTuple):
    """Parameters from elsewhere, and what a run records and says of them."""

    params: Params
    record: Weights
    said: list[str]


def bring(problem: Problem, params: Params, settings: TrainSettings) -> Brought:
    """Return the parameters that `train.weights` and `train.weights_map` name.

    Args:
        problem: whose parameters they are.
        params: parameters, or shapes and dtypes of such.
        settings: with both keys given.

    Raises:
        ConfigError: the file, the map or a shape does not fit; names each tensor and parameter.
        DataError: the file is damaged, too large, or would have to be executed.
    """
    wanted = {name: leaf for name, leaf in _named(params)}
    tensors = read_tensors(Path(str(settings.weights)).expanduser())
    names = read_map(_map_file(str(settings.weights_map)), str(settings.weights_map))
    filled = fill(wanted, tensors, names, lambda shapes: _advice(problem, wanted, shapes))
    arrays = [filled.arrays[name] for name in wanted]
    record = Weights(
        file=str(settings.weights),
        sha256=tensors.sha256,
        map=str(settings.weights_map),
        lines={name: names.texts[name] for name in wanted},
        left_out=filled.left_out,
    )
    number = len(tensors.arrays) - len(filled.left_out)
    size = sum(array.size for array in arrays)
    said = [
        f"{record.file}, SHA-256 {record.sha256[:12]}: {number} tensors make {len(arrays)} "
        f"parameters, {size:,} numbers, by {record.map}"
    ]
    if filled.prefix:
        said.append(f"  all names begin with {filled.prefix}")
    said += [f"  {name} {list(wanted[name].shape)} = {names.texts[name]}" for name in wanted]
    if filled.left_out:
        said.append(f"  not used: {', '.join(filled.left_out)}")
    return Brought(
        jax.tree.unflatten(jax.tree.structure(params), arrays), record, [*said, _unsaid(problem)]
    )


def require_same(record: Weights, settings: TrainSettings) -> None:
    """Raise DataError if the file of weights is not the one that a run began with."""
    if settings.weights is None or not record.known:
        return
    now = read_tensors(Path(settings.weights).expanduser()).sha256
    if now != record.sha256:
        raise DataError(
            f"{settings.weights} has changed since the run began (SHA-256 {record.sha256[:12]}, "
            f"now {now[:12]}). Put it back as it was."
        )


def _named(params: Params) -> Iterator[tuple[str, Any]]:
    """Yield every leaf of theta, phi and psi by its name: the path to it, joined by dots."""
    for prefix, tree in zip(OF_PARAMS, params, strict=True):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            inside = jax.tree_util.keystr(path, simple=True, separator=".")
            yield ".".join(filter(None, (prefix, inside))), leaf


def _map_file(name: str) -> Path:
    """Return the file of a map: one of the group's, or the yaml that a path names."""
    known, path = catalog.groups().get(MAPS, {}), Path(name).expanduser()
    if name in known:
        return known[name]
    if path.is_file():
        return path
    raise ConfigError(
        f"There is no map of names {name}, nor a file of that name; avi brings "
        f"{', '.join(known)}.{nearest(name, known)}"
    )


def _networks(problem: Problem) -> Iterator[tuple[str, str, MLP]]:
    """Yield (beginning of its parameters' names, its key, itself) of each dense network."""
    model, mode = problem.model, problem.inference
    if isinstance(model, VAE) and isinstance(model.decoder, MLP):
        yield "decoder", "model.decoder", model.decoder
    place = "inference.network"
    if isinstance(mode, Refined):
        mode, place = mode.base, "inference.base.network"
    if isinstance(mode, Amortized) and isinstance(mode.network, MLP):
        yield OF_PARAMS.phi, place, mode.network


def _advice(problem: Problem, wanted: Mapping[str, Any], found: Shapes) -> str:
    """Return what to type where the networks of the file are of other sizes."""
    words, said = [], ""
    for prefix, key, network in _networks(problem):
        layers = [found.get(f"{prefix}.layer{number}.kernel", ()) for number in range(len(found))]
        sizes = [shape for shape in layers if len(shape) == 2]
        if not sizes:
            continue
        inputs, widths = sizes[0][0], tuple(shape[1] for shape in sizes[:-1])
        here = wanted[f"{prefix}.layer0.kernel"].shape[0]
        if prefix == "decoder" and inputs != here:
            words.append(f"model.latent_size={inputs}")
        elif inputs != here:
            said = f"Its encoder reads {inputs} numbers, but x has {here} here: other data. "
        if widths != network.widths:
            words.append(f"{key}.widths=[{','.join(map(str, widths))}]")
    return f"{said}{'Try ' + ' '.join(words) if words else ''}".strip()


def _unsaid(problem: Problem) -> str:
    """Return what no file of tensors says and the settings must."""
    chosen = [
        f"{key}.activation={network.activation}"
        for _, key, network in _networks(problem)
        if network.widths
    ]
    likelihood = getattr(problem.model, "likelihood", None)
    if likelihood is not None:
        chosen.append(f"likelihood {type(likelihood).__name__}")
    return f"No file says whether these are its own: {', '.join([*chosen, 'the scale of x'])}."
