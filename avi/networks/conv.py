"""Convolutions over images: an encoder that halves the image, and a decoder that doubles it."""

from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.errors import ConfigError
from avi.networks.mlp import ACTIVATIONS, Activation
from avi.process.grammar import many, verb
from avi.types import PRNGKey, X

KERNEL = (3, 3)
LAYOUT = ("NHWC", "HWIO", "NHWC")
Shape = tuple[int, int, int]  # height, width, channels


@dataclass(frozen=True)
class _Images:
    """What encoder and decoder have in common: layers of `channels`, each between two sizes."""

    channels: tuple[int, ...]  # of each layer, from the image's side
    image_shape: tuple[int, ...] | None  # height, width and perhaps channels; None: square
    activation: Activation
    output_scale: float
    place: ClassVar[str]  # where such a network stands

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels must be 1 or more each; got {list(self.channels)}.")
        if self.image_shape is not None and len(self.image_shape) not in (2, 3):
            raise ValueError(
                f"image_shape is [height, width] or [height, width, channels]; got "
                f"{list(self.image_shape)}."
            )

    def _image(self, size: int) -> Shape:
        """Return the shape of an image of `size` numbers."""
        if self.image_shape is None:
            side = isqrt(size)
            shape = (side, side, 1)
        else:
            shape = (*self.image_shape, 1)[:3]  # type: ignore[assignment]
        if size % prod(shape):
            raise ConfigError(
                f"{many(size, 'number')} {verb(size, 'are')} no image of shape "
                f"{list(self.image_shape or shape[:2])}. "
                f"Try {self.place}.image_shape=[height,width], or {self.place}=mlp."
            )
        return shape

    def _sizes(self, image: Shape) -> list[Shape]:
        """Return the shapes between the layers, from the image to the smallest."""
        sizes = [image]
        for channels in self.channels:
            height, width, _ = sizes[-1]
            sizes.append((-(-height // 2), -(-width // 2), channels))
        return sizes


@dataclass(frozen=True)
class Conv(_Images):
    """3 x 3 convolutions with stride 2, then an affine map of what is left, around output_bias.

    No layer sees another datapoint: there is no batch normalisation.
    """

    place: ClassVar[str] = "inference.network"

    def init(self, key: PRNGKey, x: X, output_bias: Float[Array, " num_outputs"]) -> dict[str, Any]:
        """Return the weights, for images like `x`.

        Raises:
            ConfigError: pixels of x may be missing.
        """
        if isinstance(x, dict):
            raise ConfigError(
                f"Convolutions see whole images, and entries of these may be missing. Try "
                f"{self.place}=mlp."
            )
        sizes = self._sizes(self._image(jnp.size(x)))
        last, size = jax.random.fold_in(key, len(sizes)), prod(sizes[-1])
        kernel = jax.random.normal(last, (size, output_bias.size)) * size**-0.5
        return {
            **_kernels(key, sizes),
            "out": {"kernel": self.output_scale * kernel, "bias": output_bias},
        }

    def apply(self, params: dict[str, Any], x: X, num_outputs: int) -> Float[Array, " num_outputs"]:
        """Return the outputs for one image, in whatever shape it comes."""
        h = jnp.reshape(x, self._image(jnp.size(x)))
        for number in range(len(self.channels)):
            layer = params[f"layer{number}"]
            h = ACTIVATIONS[self.activation](halved(h, layer["kernel"]) + layer["bias"])
        outputs: Array = h.ravel() @ params["out"]["kernel"] + params["out"]["bias"]
        return outputs


@dataclass(frozen=True)
class TransposedConv(_Images):
    """An affine map to a small image, then transposed 3 x 3 convolutions, each doubling its sides.

    The image is cut to its size at the end; `output_bias` is added to every pixel its own. Where a
    likelihood takes k numbers of each pixel, they are channels of the last layer.
    """

    place: ClassVar[str] = "model.decoder"

    def init(self, key: PRNGKey, x: X, output_bias: Float[Array, " num_outputs"]) -> dict[str, Any]:
        """Return the weights, for codes like `x`."""
        sizes = self._sizes(self._output(output_bias.size))
        first, size = jax.random.fold_in(key, len(sizes)), jnp.size(x)
        kernel = jax.random.normal(first, (size, prod(sizes[-1]))) * max(1, size) ** -0.5
        layers = _kernels(key, sizes)
        layers["layer0"]["kernel"] = self.output_scale * layers["layer0"]["kernel"]
        for number, (above, _) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            layers[f"layer{number}"]["bias"] = jnp.zeros(above[2])
        start = {"kernel": kernel, "bias": jnp.zeros(prod(sizes[-1]))}
        return {**layers, "in": start, "out": {"bias": output_bias}}

    def apply(self, params: dict[str, Any], x: X, num_outputs: int) -> Float[Array, " num_outputs"]:
        """Return the outputs for one code."""
        *larger, smallest = self._sizes(self._output(num_outputs))
        act = ACTIVATIONS[self.activation]
        h = jnp.reshape(jnp.ravel(x) @ params["in"]["kernel"] + params["in"]["bias"], smallest)
        for number in reversed(range(len(larger))):
            layer = params[f"layer{number}"]
            h = doubled(act(h), layer["kernel"], larger[number]) + layer["bias"]
        height, width, channels = larger[0]
        own = self.image_shape[2] if self.image_shape is not None and self.image_shape[2:] else 1
        pixels = h.reshape(height, width, channels // own, own)
        return jnp.moveaxis(pixels, 2, 0).ravel() + params["out"]["bias"]

    def _output(self, num_outputs: int) -> Shape:
        """Return the shape of the last layer: k numbers for each of the image's own."""
        if self.image_shape is None:
            many = (k for k in (1, 2, 3) if num_outputs % k == 0)
            squares = (k for k in many if isqrt(num_outputs // k) ** 2 == num_outputs // k)
            height, width, channels = self._image(num_outputs // next(squares, 1))
        else:
            height, width, channels = self._image(num_outputs)
        return height, width, channels * (num_outputs // (height * width * channels))


def halved(h: Float[Array, "h w c"], kernel: Float[Array, "3 3 c d"]) -> Float[Array, "h2 w2 d"]:
    """Return the convolution with stride 2, h2 = ceil(h / 2)."""
    pads = [_pads(side) for side in h.shape[:2]]
    return jax.lax.conv_general_dilated(h[None], kernel, (2, 2), pads, dimension_numbers=LAYOUT)[0]


def doubled(
    h: Float[Array, "h2 w2 d"], kernel: Float[Array, "3 3 c d"], shape: Shape
) -> Float[Array, "h w c"]:
    """Return the transpose of `halved` of an image of this shape, with the same kernel."""
    like = jax.ShapeDtypeStruct(shape, h.dtype)
    transposed = jax.linear_transpose(lambda image: halved(image, kernel), like)
    image: Array = transposed(h)[0]
    return image


def _pads(side: int) -> tuple[int, int]:
    """Return the rows of zeros before and after, so that ceil(side / 2) are left."""
    return (1, 1) if side % 2 else (0, 1)


def _kernels(key: PRNGKey, sizes: list[Shape]) -> dict[str, Any]:
    """Return kernels and biases between these sizes, normal with variance 1 / inputs."""
    layers = {}
    for number, (before, after) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        shape = (*KERNEL, before[2], after[2])
        scale = prod(shape[:3]) ** -0.5
        kernel = scale * jax.random.normal(jax.random.fold_in(key, number), shape)
        layers[f"layer{number}"] = {"kernel": kernel, "bias": jnp.zeros(after[2])}
    return layers
