"""diffusers' ``UNet2DModel`` without what other networks need.

``from diffusers import UNet2DModel`` runs the ``__init__`` of all its networks and imports torch's compiler and,
where they are installed, transformers, scipy and sympy: seconds of CPU time for modules that no restoration uses.
Importing this module imports what the network needs and puts the rest off; after it ``from diffusers import …`` is
as ever.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext, suppress
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import nn

from restoration.priors.importing.compiler import COMPILER, Marks
from restoration.priors.importing.distributions import read_later
from restoration.priors.importing.waiting import defer

if TYPE_CHECKING:
    from diffusers import UNet2DModel

NETWORK = "diffusers.models.unets.unet_2d"
PACKAGES: dict[str, dict[str, str]] = {
    "diffusers.models.unets": {},
    "diffusers.models.transformers": {},
    "diffusers.quantizers": {"DiffusersAutoQuantizer": "auto", "DiffusersQuantizer": "base"},
}
"""What waits, and names of it that are needed at once."""
MARKING = "diffusers.utils.torch_utils"
_OFFLOADING = "diffusers.hooks.group_offloading"


def import_lightly() -> bool:
    """Import the module of ``UNet2DModel`` before anybody does in the usual way, and say whether that worked.

    Nothing is hidden: what waits is imported when it is asked for. Where diffusers is made otherwise than is known
    here nothing is left behind, and the usual import does what it always does.
    """
    if NETWORK in sys.modules or set(PACKAGES) & set(sys.modules):
        return False  # somebody has imported it all already
    before = set(sys.modules)
    done = False
    with suppress(Exception):  # whatever another version raises: the usual import is then the one that tells
        try:
            _import_network()
            done = True
        finally:
            if not done:
                for name in set(sys.modules) - before:
                    if name.partition(".")[0] == NETWORK.partition(".")[0]:
                        del sys.modules[name]
    return done


def _import_network() -> None:
    marks = Marks()
    with read_later(), nullcontext() if COMPILER in sys.modules else marks.waiting():
        for name, homes in PACKAGES.items():
            defer(name, homes)
        if COMPILER not in sys.modules:
            vars(import_module(MARKING))["maybe_allow_in_graph"] = marks.allow_in_graph
        import_module(NETWORK)


def device_of(network: UNet2DModel) -> torch.device:
    """Where a network computes.

    ``network.device`` says the same, but imports torch's compiler to ask whether the network is offloaded.
    """
    if _OFFLOADING in sys.modules:
        return torch.device(network.device)
    return torch.device(next(network.parameters()).device)


def move(network: UNet2DModel, device: torch.device | str) -> UNet2DModel:
    """Move a network's weights in place and return it.

    ``network.to`` does the same, but imports torch's compiler to ask whether the network is offloaded.
    """
    if _OFFLOADING in sys.modules or getattr(network, "is_quantized", False):
        return network.to(device)
    return nn.Module.to(network, device)


def lay_out(network: UNet2DModel, memory_format: torch.memory_format) -> None:
    """Lay a network's weights out in another order, in place, without what ``network.to`` imports."""
    nn.Module.to(network, memory_format=memory_format)


import_lightly()
