"""Weights of other programs: reading their files without executing them, and fitting them in.

A layout says what the modules of our network are called there. Here every parameter is looked up
under that name; what is missing, has another size, or is left over is listed, not skipped.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.errors import CheckpointError
from codec.model.checkpoint import as_weights, read_tensors
from codec.network.config import ModelConfig, OobleckConfig
from codec.settings import validate
from codec.text import printable

LISTED = 6
"""Names in an error message; of more the number is given."""

_NORM, _DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
_SNAKE = (".alpha", ".beta")

SAFE_WAY = (
    "where you trust it, write its weights as safetensors with the program that made it "
    "(stable-audio-tools: unwrap_model.py --use-safetensors), and convert those"
)


@dataclass(frozen=True)
class Layout:
    """How another program describes and names the network that ours is.

    ``model_config(values, name, where)`` is our config of the network that its config describes,
    ``autoencoder_weights(tensors, where)`` the autoencoder's among a file's tensors, without their
    prefix, and that prefix; ``module_name(network, name)`` translates the name of a module.
    """

    name: str
    model_config: Callable[[dict[str, Any], str, str], ModelConfig]
    autoencoder_weights: Callable[[Mapping[str, Tensor], str], tuple[dict[str, Tensor], str]]
    module_name: Callable[[OobleckConfig, str], str]


def oobleck_config(
    name: str,
    sample_rate: Any,
    channels: int,
    latent_dim: int,
    network: dict[str, Any],
    where: str,
) -> ModelConfig:
    """Our config of an autoencoder whose encoder says means and scales (see oobleck.py).

    A network of one channel was trained on channels as they are.

    Raises:
        ConfigError: a value that our network cannot have, with ``where`` it stands.
    """
    return validate(
        ModelConfig,
        {
            "name": name,
            "sample_rate": sample_rate,
            "channels": channels,
            "stereo": "left_right" if channels == 1 else "mid_side",
            "latent_dim": latent_dim,
            "network": {"kind": "oobleck", "posterior_scale": "softplus", **network},
        },
        where,
    )


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a .safetensors file or of a checkpoint of torch.save, on the CPU.

    Raises:
        CheckpointError: no such file, damaged, or a pickle whose objects would execute code.
    """
    if path.suffix.lower() == ".safetensors":
        return read_tensors(path)[1]
    return _read_pickle(path)


def _read_pickle(path: Path) -> Mapping[str, Tensor]:
    """With ``weights_only``, which builds tensors and plain containers and nothing else."""
    name = printable(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file '{name}'")
    if _version(torch.__version__) < (2, 6):
        raise CheckpointError(
            f"'{name}' is a pickle, which torch {torch.__version__} cannot read safely even with "
            f"weights_only (CVE-2025-32434); install torch 2.6 or newer, or use .safetensors"
        )
    try:
        # An old checkpoint is no zip archive, and cannot be mapped.
        mapped = zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        # torch's own message goes on to explain how to switch the protection off
        forbidden = re.search(r"GLOBAL (\S+)", str(error))
        what = f", here {printable(forbidden[1])}" if forbidden else ""
        raise CheckpointError(
            f"'{name}' is a pickle with more in it than tensors{what}, and loading such an object "
            f"can execute any code; {SAFE_WAY}"
        ) from None
    except Exception as error:  # a damaged pickle raises anything
        raise CheckpointError(
            f"'{name}' is not a checkpoint of torch.save, or is damaged: "
            f"{printable(str(error).splitlines()[0]) if str(error) else type(error).__name__}"
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise CheckpointError(f"'{name}' holds no dictionary of weights; is it another file?")
    return {str(k): v.detach() for k, v in content.items() if isinstance(v, Tensor)}


def fitted(
    expected: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    their_module: Callable[[str], str],
    where: str,
) -> dict[str, Tensor]:
    """``weights`` under our names, as float32.

    Args:
        expected: our network's state dict; on the meta device is enough.
        weights: theirs, and nothing that belongs to another network.
        their_module: our name of a module -> theirs.
        where: their file, for messages.

    Raises:
        CheckpointError: keys are missing or left over, a shape is not the config's, or a weight
            is not finite; all of them are named, or the first ones with their number.
    """
    left = dict(weights)
    taken: dict[str, Tensor] = {}
    missing: list[str] = []
    for name in expected:
        if name.endswith(_DIRECTION):
            continue  # with its norm
        if name.endswith(_NORM):
            module = name.removesuffix("." + _NORM)
            magnitude_and_direction = _take_normed(left, their_module(module), missing)
            if magnitude_and_direction is not None:
                taken[name], taken[f"{module}.{_DIRECTION}"] = magnitude_and_direction
            continue
        module, _, parameter = name.rpartition(".")
        source_name = f"{their_module(module)}.{parameter}"
        tensor = left.pop(source_name, None)
        if tensor is None:
            missing.append(source_name)
        else:
            # diffusers keeps Snake's parameters as (1, channels, 1)
            taken[name] = tensor.flatten() if name.endswith(_SNAKE) else tensor
    problems = []
    if missing:
        problems.append(f"misses {listed(missing)}")
    if left:
        problems.append(f"has {listed(sorted(left))}, which this network lacks")
    wrong = [
        f"{key} is {tuple(value.shape)}, by the config {tuple(expected[key].shape)}"
        for key, value in taken.items()
        if value.shape != expected[key].shape
    ]
    if wrong and not problems:
        problems.append(f"has other sizes than its config says: {listed(wrong, '; ')}")
    if problems:
        raise CheckpointError(
            f"{where} {'; it '.join(problems)}; expected an Oobleck autoencoder as its config "
            f"describes it"
        )
    try:
        return as_weights(taken)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from None


def _take_normed(
    left: dict[str, Tensor], module: str, missing: list[str]
) -> tuple[Tensor, Tensor] | None:
    """Norm g and direction v of a weight-normalised convolution, whichever way they are stored."""
    for norm, direction in (("weight_g", "weight_v"), (_NORM, _DIRECTION)):
        keys = f"{module}.{norm}", f"{module}.{direction}"
        if keys[0] in left or keys[1] in left:
            missing.extend(key for key in keys if key not in left)
            pair = left.pop(keys[0], None), left.pop(keys[1], None)
            return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])
    weight = left.pop(f"{module}.weight", None)  # weight norm has been folded in
    if weight is None:
        missing += [f"{module}.weight_g", f"{module}.weight_v"]
        return None
    weight = weight.float()
    return weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.ndim - 1)), weight


def listed(names: Iterable[str], separator: str = ", ") -> str:
    """Names for a message: the first ones, and how many there are."""
    names = [printable(name) for name in names]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return separator.join(names[:LISTED]) + more


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
