"""The regressor of films in NumPy float64, one output pixel after the other: the oracle of both twins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from implementations.models.config import FilmRegressorConfig
from implementations.s5.reference import layer

Array = np.ndarray


def convolution(
    x: Float[Array, "Y X C"], kernel: Float[Array, "k k C E"], bias: Float[Array, " E"], stride: int
) -> Float[Array, "Z W E"]:
    """Every output pixel as the sum over its neighbourhood, which is zero outside the image."""
    size, (height, width, _) = kernel.shape[0], x.shape
    around = np.pad(x, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    rows, columns = (len(range(0, side + 2 * (size // 2) - size + 1, stride)) for side in (height, width))
    y = np.zeros((rows, columns, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            patch = around[i * stride : i * stride + size, j * stride : j * stride + size]
            y[i, j] = (patch[..., None] * kernel).sum((0, 1, 2)) + bias
    return y


def largest(x: Float[Array, "Y X C"]) -> Float[Array, "Z W C"]:
    """The largest of every 2 x 2 values."""
    return np.maximum(np.maximum(x[::2, ::2], x[1::2, ::2]), np.maximum(x[::2, 1::2], x[1::2, 1::2]))


def model(
    config: FilmRegressorConfig, parameters: dict[str, Array], inputs: Float[Array, "B L channels"]
) -> Float[Array, "B L outputs"]:
    """Means and variances at every frame, by S5's oracle, where nothing is padded."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}

    def linear(name, x):
        return x @ p[f"{name}.kernel"] + p[f"{name}.bias"]

    def frame(values):
        x = values[:-1].reshape(config.side, config.side, 1)
        for name, stride in (("convolution1", 1), ("convolution2", 2)):
            x = largest(np.maximum(convolution(x, p[f"{name}.kernel"], p[f"{name}.bias"], stride), 0))
        x = np.maximum(linear("frame", x.reshape(-1)), 0)
        return linear("encoder", np.append(x, values[-1]) if config.time == "append" else x)

    x = np.array([[frame(values) for values in film] for film in inputs])
    for i, of_layer in enumerate(config.layers):
        own = {k.removeprefix(f"layers.{i}."): v for k, v in p.items() if k.startswith(f"layers.{i}.")}
        timesteps = inputs[..., -1] if config.time == "steps" else None
        x, _ = layer(of_layer, own, x, timesteps=timesteps)  # pyright: ignore[reportArgumentType]
    heads = {name: linear(f"{name}.out", np.tanh(linear(f"{name}.hidden", x))) for name in ("mean", "variance")}
    v = heads["variance"]
    return np.concatenate([heads["mean"], np.where(v < 0, np.exp(np.minimum(v, 0)), v + 1)], -1)
