"""A twin's parameters as a flat {path: array}: conversion between frameworks is the identity on it.

Paths are dotted (`layers.3.ssm.log_step`) and the same in both twins; kernels are (in, out). Files are safetensors
with the model's config, as JSON, in the header.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from implementations.common.config import Config

Arrays = dict[str, np.ndarray]


class ParameterError(ValueError):
    """Parameters do not fit a model, or a file of them cannot be read."""


def _is_torch(model: Any) -> bool:
    return hasattr(model, "named_parameters")


def _torch_tensors(model: Any, statistics: bool) -> dict[str, Any]:
    return dict(model.named_buffers() if statistics else model.named_parameters())


def _nnx_variables(model: Any, statistics: bool) -> dict[str, Any]:
    from flax import nnx

    from implementations.common.jax import BatchStatistic

    state = nnx.state(model, BatchStatistic if statistics else nnx.Param)
    return {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}


def _read(model: Any, statistics: bool) -> Arrays:
    if _is_torch(model):
        tensors = _torch_tensors(model, statistics)
        return {path: tensors[path].detach().cpu().numpy().copy() for path in sorted(tensors)}
    variables = _nnx_variables(model, statistics)
    return {path: np.array(variables[path][...]) for path in sorted(variables)}


def check(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise `ParameterError` naming the first path that is missing, unknown or of another shape."""
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            raise ParameterError(f"parameter {path!r} is missing: expected shape {tuple(expected[path].shape)}")
        if path not in expected:
            raise ParameterError(f"parameter {path!r} is unknown: the model has no such path")
        if tuple(found[path].shape) != tuple(expected[path].shape):
            raise ParameterError(
                f"parameter {path!r} has shape {tuple(found[path].shape)}: expected {tuple(expected[path].shape)}"
            )


def _write(model: Any, arrays: Arrays, statistics: bool) -> None:
    if _is_torch(model):
        import torch

        tensors = _torch_tensors(model, statistics)
        check(arrays, tensors)
        with torch.no_grad():
            for path, tensor in tensors.items():
                tensor.copy_(torch.from_numpy(np.array(arrays[path])))
        return
    import jax.numpy as jnp
    from flax import nnx

    variables = _nnx_variables(model, statistics)
    check(arrays, variables)
    state: Any = {
        tuple(int(p) if p.isdigit() else p for p in path.split(".")): variable.replace(
            jnp.array(arrays[path], variable[...].dtype)
        )
        for path, variable in variables.items()
    }
    nnx.update(model, nnx.from_flat_state(state))


def get_parameters(model: Any) -> Arrays:
    """All parameters of a twin, by sorted path, as NumPy copies."""
    return _read(model, statistics=False)


def set_parameters(model: Any, parameters: Arrays) -> None:
    """Set all parameters of a twin in place; a missing, unknown or misshapen one raises `ParameterError`."""
    _write(model, parameters, statistics=False)


def get_statistics(model: Any) -> Arrays:
    """All running statistics (batch norm's mean and var) of a twin, by sorted path, as NumPy copies."""
    return _read(model, statistics=True)


def set_statistics(model: Any, statistics: Arrays) -> None:
    """Set all running statistics of a twin in place; errors as `set_parameters`."""
    _write(model, statistics, statistics=True)


def save(path: str | Path, parameters: Arrays, config: Config | dict[str, Any], **header: str) -> None:
    """Write parameters with their config and texts for the header, atomically: the file is whole or not there."""
    path = Path(path)
    config = config.to_dict() if isinstance(config, Config) else config
    arrays = {name: np.ascontiguousarray(array) for name, array in parameters.items()}
    data = safetensors.numpy.save(arrays, metadata={**header, "config": json.dumps(config, sort_keys=True)})
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def load(path: str | Path) -> tuple[Arrays, dict[str, Any]]:
    """Parameters and config of a file; one that is missing or broken raises `ParameterError` naming it."""
    try:
        data = Path(path).read_bytes()
        arrays = safetensors.numpy.load(data)
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
        return arrays, json.loads(header["__metadata__"]["config"])
    except FileNotFoundError:
        raise ParameterError(f"{path} does not exist") from None
    except (safetensors.SafetensorError, struct.error, KeyError, ValueError) as error:
        raise ParameterError(f"{path} is no parameter file of this project, or is damaged: {error}") from None
