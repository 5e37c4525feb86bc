"""What jax runs on, decided once per process and before the first array."""

import contextlib
import os
from functools import lru_cache
from pathlib import Path

from avi.errors import ConfigError
from avi.settings import Device, Precision

PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


def configure(device: Device, precision: Precision) -> None:
    """Choose platform, precision and compilation cache.

    Raises:
        ConfigError: the device asked for is not there; says how to install it.
    """
    import jax

    jax.config.update("jax_enable_x64", precision == "float64")
    if device != "auto":
        jax.config.update("jax_platforms", PLATFORMS[device])
    _use_cache()
    try:
        jax.devices()
    except RuntimeError as error:
        extra = {
            "gpu": " Install it with pip install 'avi[cuda]'.",
            "tpu": " pip install 'avi[tpu]'.",
        }
        raise ConfigError(
            f"device={device} is not available here.{extra.get(device, '')} Try device=auto."
        ) from error


@lru_cache
def compiler_options() -> dict[str, str | bool]:
    """Return the options for jitted functions of which matrix products are the larger part."""
    import jax

    # By default XLA gives products to YNNPACK: on an AVX2 processor a training step of 128 rows
    # takes 14 % longer so.
    options: dict[str, str | bool] = {
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"
    }
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options=options)
    except RuntimeError:  # a version of XLA that has no such option
        return {}
    return options


def description() -> str:
    """Return the device in words, e.g. `cpu` or `gpu: NVIDIA H100`."""
    import jax

    device = jax.devices()[0]
    return (
        device.platform if device.platform == "cpu" else f"{device.platform}: {device.device_kind}"
    )


def _use_cache() -> None:
    import jax

    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    # A home that is missing or cannot be written to costs compilations, not the run.
    with contextlib.suppress(OSError, RuntimeError):
        folder = Path(os.environ.get("AVI_CACHE_DIR") or Path.home() / ".cache" / "avi") / "xla"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
