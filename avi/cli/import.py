"""`avi import`: a run folder from weights that another program has trained."""

from typing import TYPE_CHECKING

from avi.cli.command import Command, Line
from avi.cli.words import halves, own_keys, require_once, taken, with_folders
from avi.errors import ConfigError

if TYPE_CHECKING:
    from avi.config.compose import Job

OWN = {"weights": "train.weights", "weights_map": "train.weights_map"}  # as a run has them
LIKE = "avi import weights=vae.safetensors weights_map=pytorch_vae model=vae dataset=mnist"


def run(words: list[str]) -> int:
    """Write the run folder."""
    job = prepared(words)
    from avi.launch import places

    return places.train_one(job)


def prepared(words: list[str]) -> "Job":
    """Return the run that these words ask for: one that starts from the weights, and stays there.

    Raises:
        ConfigError: a key is missing, or asks for training.
    """
    words = with_folders(words)
    require_once(words)
    of_training = []
    for key, name in OWN.items():
        value, words = taken(words, key)
        if value is None:
            raise ConfigError(f"Which {key}? For example: {LIKE}")
        of_training.append(f"{name}={value}")
    for key, _ in map(halves, words):
        if key in ("train.epochs", "resume", *OWN.values()):
            raise ConfigError(
                f"avi import takes no {key}: it trains nothing. Leave it out; avi train "
                "train.start=<the run it writes> goes on from there."
            )
    from avi.config.compose import compose

    return compose([*of_training, "train.epochs=0", *words])[0]


def offer(line: Line) -> list[str]:
    """Return its own keys and those of training."""
    from avi.cli import offers

    return offers.settings(line, [*own_keys("import"), *offers.keys_of_training(line.chosen)])


COMMAND = Command(
    name="import",
    summary="write a run folder from weights that were trained elsewhere",
    usage="avi import weights=<file> weights_map=<map> [as in avi train]",
    examples="""\
  avi list weights_map                      the maps that avi brings
  avi import weights=vae.safetensors weights_map=pytorch_vae dataset=mnist
             model.latent_size=20 model.decoder.widths=[400]
             model.decoder.activation=relu inference.network.widths=[400]
             inference.network.activation=relu
  avi import weights=vae.npz weights_map=mine.yaml dataset=digits
""",
    run=run,
    offer=offer,
    notes=(
        "All other words are those of `avi train`: they say what the weights are weights of. What "
        "a file does not say must match: activations, the likelihood, the scale of the data. "
        "docs/bring-weights.md shows how a map is written.",
    ),
    resumable=True,
)
