"""Another code base's tensors into a ``UNet2DModel``: renamed, split in three and permuted, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers import UNet2DModel
from torch import Tensor

from restoration.errors import PriorError
from restoration.priors.formats.layout import Format, Kind, Layout, Shapes


@dataclass(frozen=True)
class Source:
    """One tensor of the checkpoint: what shape it must have, and which of the network's it becomes."""

    shape: tuple[int, ...]
    targets: tuple[str, ...]  # one, or the three of to_q, to_k and to_v


def sources(form: Format, layout: Layout, network: UNet2DModel) -> dict[str, Source]:
    """Every tensor that a checkpoint of this layout has, by name."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    parts: dict[Kind, Mapping[str, tuple[str, ...]]] = {
        "plain": {"": ("",)},
        "resnet": form.resnet,
        "attention": form.attention,
    }
    listing: dict[str, Source] = {}
    for theirs, ours, kind in form.modules(layout):
        for source, targets in parts[kind].items():
            for leaf in ("weight", "bias"):
                names = tuple(_join(ours, target, leaf) for target in targets)
                if names[0] not in shapes:  # a shortcut that is the identity, an embedding's bias
                    continue
                rows, *rest = shapes[names[0]]
                ones = (1,) * form.pointwise if kind == "attention" and rest else ()
                listing[_join(theirs, source, leaf)] = Source((rows * len(names), *rest, *ones), names)
    return listing


def constant_weights(layout: Layout, network: UNet2DModel) -> dict[str, Tensor]:
    """Convolutions that average 2×2 pixels, and that change nothing: a ``UNet2DModel`` always has one there."""
    if layout.resampling != "pool":
        return {}
    weights: dict[str, Tensor] = {}
    for name, like in network.state_dict().items():
        if "samplers.0.conv" not in name:
            continue
        weights[name] = weight = torch.zeros(like.shape)
        if name.endswith("weight"):
            channel = torch.arange(len(weight))
            if ".downsamplers." in name:
                weight[channel, channel, :2, :2] = 0.25
            else:
                weight[channel, channel, 1, 1] = 1
    return weights


def check_names_and_shapes(given: Shapes, listing: Mapping[str, Source], title: str) -> None:
    """Nothing missing, nothing left over, every shape as it must be.

    Raises:
        PriorError: one line with the number and the first of each kind.
    """
    missing = [name for name in listing if name not in given]
    extra = [name for name in given if name not in listing]
    wrong = [name for name, source in listing.items() if name in given and given[name] != source.shape]
    found = [
        f"{len(names)} {what} (first {names[0]})"
        for names, what in ((missing, "missing"), (extra, "extra"))
        if names
    ]
    if wrong:
        first = f"{wrong[0]} is {given[wrong[0]]}, not {listing[wrong[0]].shape}"
        found.append(f"{len(wrong)} of another shape (first {first})")
    if found:
        raise PriorError(f"its tensors do not fit {title}: {', '.join(found)}")


def adopt(
    network: UNet2DModel,
    tensors: Mapping[str, Tensor],
    listing: Mapping[str, Source],
    constants: Mapping[str, Tensor],
    *,
    heads_first: bool,
    dtype: torch.dtype,
) -> UNet2DModel:
    """Give a network on the meta device its weights, each a CPU copy in ``dtype``; set it to evaluation.

    Beside the checkpoint and the network, one tensor's worth of memory is used.

    Args:
        heads_first: rows of a joint projection are (head, q | k | v, channel), guided-diffusion's legacy order;
            otherwise (q | k | v, head, channel), diffusers' own.

    Raises:
        PriorError: a tensor that is not of floating point, or not finite in ``dtype``.
    """
    state = {name: tensor.to(dtype) for name, tensor in constants.items()}
    for name, source in listing.items():
        tensor = tensors[name].detach()
        if not tensor.is_floating_point():
            raise PriorError(f"tensor {name} is {tensor.dtype}, not of floating point")
        pieces = tensor[None]
        if len(source.targets) == 3:
            heads = network.get_submodule(source.targets[0].rsplit(".", 2)[0]).heads if heads_first else 1
            pieces = tensor.reshape(heads, 3, -1, *tensor.shape[1:]).transpose(0, 1)
        for target, piece in zip(source.targets, pieces, strict=True):
            like = network.get_parameter(target)
            weight = torch.empty(like.shape, dtype=dtype)
            weight.view(piece.shape).copy_(piece)
            if not _finite(weight):
                raise PriorError(f"tensor {name} holds NaN or infinity" + _overflow(tensor, dtype))
            state[target] = weight
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _finite(tensor: Tensor) -> bool:
    """A finite sum has finite terms, and is ten times faster than looking at each."""
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


def _overflow(tensor: Tensor, dtype: torch.dtype) -> str:
    return f" in {str(dtype).removeprefix('torch.')}" if _finite(tensor) else ""


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)
