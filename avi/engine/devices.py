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
    except (RuntimeError, AssertionError) as error:  # asserted where jax has no such platform
        extra = {"gpu": "cuda", "tpu": "tpu"}.get(device)
        how = f" In avi's own folder, pip install '.[{extra}]' installs what it needs."
        raise ConfigError(
            f"device={device} is not available here.{how if extra else ''} Try device=auto."
        ) from error


def cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def for_products() -> dict[str, str | bool]:
    """Return the options for jitted functions of which matrix products are the larger part."""
    # By default XLA gives products to YNNPACK: on an AVX2 processor a training step is slower so.
    return _on_cpu("xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_REDUCE")


def for_one_call() -> dict[str, str | bool]:
    """Return the options for a jitted function that is called once: quick to compile."""
    # A VAE's first weights compile in 1.0 s in place of 1.8.
    return _on_cpu("xla_backend_optimization_level", "1")


@lru_cache
def _on_cpu(option: str, value: str) -> dict[str, str | bool]:
    """Return the option of the compiler, or nothing if this device or version has none such."""
    import jax

    if jax.default_backend() != "cpu":
        return {}
    options: dict[str, str | bool] = {option: value}
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options=options)
    except RuntimeError:
        return {}
    return options


def description() -> str:
    """Return the device in words, e.g. `cpu, 2 cores` or `gpu: NVIDIA H100`.

    How many cores share a matrix product decides the last bits of its sums.
    """
    import jax

    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{device.platform}: {device.device_kind}"
    number = len(cores())
    return f"cpu, {number} core{'' if number == 1 else 's'}"


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
