"""Narrower bottlenecks for a trained network, where a layer does not use the width it has.

    python -m training.narrow --from mandarin --bottleneck 144 --name narrow

The two factors of a layer, without their nonlinearity between, are one matrix U D of the rank of the
bottleneck. On what the layer hears, with second moment C, the best approximation of a lower rank
(least squares of U D x) is the truncated singular value decomposition of U D L, L L' = C (Eckart and
Young 1936). A network that was given room to learn in is so made as cheap again as a call can afford.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from training import places
from training.batch import pad
from training.checkpoint import load_network
from training.factory import Factory
from training.network import WIDTH, Layer, Network
from training.prepare import load

__all__ = ["main", "narrowed"]

#: Of the mean variance of what a layer hears; what it never hears is not to be left without care.
FLOOR = 1e-4


def narrowed(
    net: Network, language: str, features: Iterable[torch.Tensor], bottleneck: int
) -> Network:
    """A network of one language with these bottlenecks, near to what ``net`` computes.

    Args:
        net: in evaluation mode.
        language: the one that is wanted.
        features: (batch, frames with context, 40) that tell what the layers hear.
        bottleneck: channels between the two factors of a layer, no more than ``net`` has.

    Raises:
        ValueError: ``net`` has fewer.
    """
    if bottleneck > net.bottleneck:
        raise ValueError(f"the network has bottlenecks of {net.bottleneck}, not {bottleneck}")
    out = Network({language: net.labels[language]}, bottleneck=bottleneck).eval()
    state = net.state_dict()
    factors = (".down.weight", ".up.weight")
    out.load_state_dict(
        {k: state[k] for k in out.state_dict() if not k.endswith(factors)}, strict=False
    )
    moments = _moments(net, language, features)
    for layer, narrow, moment in zip(
        net.layers(language), out.layers(language), moments, strict=True
    ):
        _factor(layer, narrow, moment, bottleneck)
    return out


def _moments(net: Network, language: str, features: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """(2 width, 2 width) second moment of the two frames that each layer's bottleneck is made of."""
    layers = net.layers(language)
    found = [torch.zeros(2 * WIDTH, 2 * WIDTH, dtype=torch.float64) for _ in layers]

    def watch(k: int, layer: Layer) -> object:
        def hook(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            x = given[0]
            both = torch.cat([x[:, :, : -layer.left], x[:, :, layer.left :]], 1)
            flat = both.transpose(0, 1).flatten(1)
            found[k] += (flat @ flat.T).double()

        return layer.down.register_forward_pre_hook(hook)

    hooks = [watch(k, layer) for k, layer in enumerate(layers)]
    with torch.no_grad():
        for x in features:
            net.trunk(x, language)
    for hook in hooks:
        hook.remove()
    return found


def _factor(layer: Layer, narrow: Layer, moment: torch.Tensor, bottleneck: int) -> None:
    wide = layer.down.out_channels
    # Convolutions of two taps as matrices: from both frames down, and up to both frames.
    down = layer.down.weight.data.transpose(1, 2).flatten(1).double()
    up = layer.up.weight.data.permute(2, 0, 1).reshape(-1, wide).double()
    floor = FLOOR * moment.diagonal().mean() * torch.eye(len(moment), dtype=torch.float64)
    root = torch.linalg.cholesky(moment + floor)
    # The product has no more than ``wide`` ranks: its decomposition is that of a small matrix.
    up_axes, up_rest = torch.linalg.qr(up)
    down_axes, down_rest = torch.linalg.qr((down @ root).T)
    u, values, v = torch.linalg.svd(up_rest @ down_rest.T)
    each = values[:bottleneck].sqrt()
    heard = each[:, None] * v[:bottleneck] @ down_axes.T
    new_down = torch.linalg.solve_triangular(root, heard, upper=False, left=False)
    new_up = up_axes @ u[:, :bottleneck] * each
    narrow.down.weight.data = new_down.view(bottleneck, 2, WIDTH).transpose(1, 2).float()
    narrow.up.weight.data = new_up.view(-1, WIDTH, bottleneck).permute(1, 2, 0).float()


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "queues", "work")
    p.add_argument("--from", dest="wide", default="net", help="name of the training's checkpoint")
    p.add_argument("--name", default="narrow", help="of the checkpoint that is written")
    p.add_argument("--bottleneck", type=int, required=True, help="channels between two factors")
    a = p.parse_args()
    net, _ = load_network(a.work / f"{a.wide}.pt")
    if len(net.labels) > 1:
        p.error(f"{a.wide} is a network of {' and '.join(net.labels)}: narrow one of one language")
    (language,) = net.labels
    factory = Factory(load(a.work), a.data / "text", a.queues)
    made = (factory.utterance(language, 10**9 + i) for i in range(200))
    heard = (torch.from_numpy(pad(u.features, len(u.features)))[None] for u in made if u)
    state = narrowed(net, language, heard, a.bottleneck).state_dict()
    saved = torch.load(a.work / f"{a.wide}.pt", weights_only=False, map_location="cpu")
    kept = {k: saved[k] for k in ("labels", "step", "spent", "before")}
    path = Path(a.work) / f"{a.name}.pt"
    torch.save(kept | {"average": state, "bottleneck": a.bottleneck}, path)
    print(f"{path}: bottlenecks of {a.bottleneck} in place of {net.bottleneck}")


if __name__ == "__main__":
    main()
