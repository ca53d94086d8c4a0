"""Can the labels of Pathfinder images be learned from the images? A small convolutional network tries.

    python -m suite.data.pathfinder_canary --resolution 32 --device cuda

It is meant for a GPU, which it takes where PyTorch sees one: on an H200 this network, given 12 epochs of 160,000
generated images of 32 x 32, was right on 90.3 % of 2,000 new ones after 154 s, and stood at chance for the first three
epochs. Half its width, group normalization and 50,000 images were too little.
There is evidence for 32 x 32 only: at 64, 128 and 256 pixels nobody has seen the network learn, so that chance there says
nothing about a set of images.

Exit status 0: it beats guessing on new images; 1: it does not, or the data cannot be had; 2: there is no such device, or
an argument is too small. A
set of images whose labels are wrong, as in one broken copy of the release, is learned by heart at best and stays at
50 % on new images.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32
from scipy import stats

from suite.data.batches import evaluation_batches, indices, steps_per_epoch
from suite.data.catalog import open_dataset, prepare_dataset
from suite.data.errors import DataError
from suite.data.pathfinder import DRAWINGS
from suite.data.prepared import Prepared, Split

SIGNIFICANT = 1e-3
_BATCH = 128
_CHANNELS = 64
_FINE, _COARSE = (1, 1, 1), (1, 1, 2, 2, 1, 2, 1)
"""Dilations of the residual blocks on 32 x 32 positions and on 16 x 16."""
_RATE = 1e-3
_STATISTICS = 4096
"""Images of which the mean and the standard deviation of a pixel are taken."""
_DECAY = 1e-2
_ORDER_SEED = 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name, least in (("train", _BATCH), ("test", 1), ("epochs", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}: expected at least {least}")
    try:
        _device(options.device)
        data = _open(options)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except DeviceAbsent as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is missing; install it with: pip install longseq-bench[torch]", file=sys.stderr)
        return 1
    accuracy = train(data, options.resolution, options.epochs, lambda line: print(line, flush=True), options.device)
    count = data.test.count
    right = round(accuracy * count)
    chance = stats.binomtest(right, count, 0.5, alternative="greater").pvalue
    low, high = stats.binomtest(right, count).proportion_ci(method="wilson")
    learned = chance < SIGNIFICANT
    print(
        f"{data.protocol['name']} {options.resolution} x {options.resolution}: {100 * accuracy:.2f} % of {count:,} new "
        f"images, Wilson 95 % {100 * low:.2f} to {100 * high:.2f} % (guessing does as well with probability "
        f"{chance:.1g}): {'learned' if learned else 'not learned'}"
    )
    return 0 if learned else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m suite.data.pathfinder_canary", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--resolution", type=int, choices=tuple(DRAWINGS), default=32)
    parser.add_argument("--train", type=int, default=160_000, metavar="N", help="images to learn from (default 160000)")
    parser.add_argument("--test", type=int, default=2_000, metavar="N", help="new images (default 2000)")
    parser.add_argument("--epochs", type=int, default=12, metavar="N", help="default 12")
    parser.add_argument("--root", type=Path, default=None, help="folder of all data (default: $LONGSEQ_DATA or ./data)")
    parser.add_argument("--from", dest="released", type=Path, metavar="DIR", help="try the release's images in DIR")
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1; auto (default): a GPU if any"
    )
    parser.add_argument("--jobs", type=int, default=None, help="cores that draw (default: all)")
    return parser


def _open(options: argparse.Namespace) -> Prepared:
    name = "lra_pathfinder" if options.resolution <= 64 else "lra_pathx"
    settings = {"train": options.train, "validation": 0, "test": options.test, "resolution": options.resolution}
    if options.released is not None:
        return prepare_dataset(name, options.root, released=options.released, jobs=options.jobs, **settings)
    return open_dataset(name, options.root, jobs=options.jobs, **settings)


class DeviceAbsent(ValueError):
    """PyTorch does not know the device or sees none of its kind here; the message names it and the remedy."""


def _device(name: str) -> str:
    """A device that PyTorch can use; `name` "auto" is a GPU where it sees one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise DeviceAbsent(f"--device {name} cannot be used ({why}); leave it out, or say --device cpu") from error
    return name


def train(data: Prepared, resolution: int, epochs: int, report: Callable[[str], object], device: str = "auto") -> float:
    """Accuracy on the test split after some epochs on the train split."""
    import torch
    from torch.nn.functional import cross_entropy

    device = _device(device)
    torch.manual_seed(_ORDER_SEED)
    network = _network(data.train, resolution).to(device, memory_format=torch.channels_last)
    per_epoch = steps_per_epoch(data.train.count, _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=epochs * per_epoch)
    accuracy = 0.0
    for epoch in range(epochs):
        network.train()
        losses = []
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            images, labels = _examples(data.train, indices(data.train.count, _BATCH, _ORDER_SEED, step), resolution)
            images = _turned(images, step)
            with torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda")):
                logits = network(torch.from_numpy(images).to(device))
            loss = cross_entropy(logits.float(), torch.from_numpy(labels).long().to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        accuracy = _accuracy(network, data.test, resolution, device)
        mean = float(torch.stack(losses).mean())
        report(f"epoch {epoch + 1} of {epochs}: loss {mean:.4f}, {100 * accuracy:.2f} % of new images")
    return accuracy


def _accuracy(network: Any, split: Split, resolution: int, device: str) -> float:
    import torch

    network.eval()
    right = 0
    with torch.no_grad():
        for batch in evaluation_batches(split.count, 4 * _BATCH):
            images, labels = _examples(split, batch, resolution)
            right += int((network(torch.from_numpy(images).to(device)).argmax(1).cpu().numpy() == labels).sum())
    return right / split.count


def _examples(
    split: Split, rows: np.ndarray, resolution: int
) -> tuple[Float32[np.ndarray, "B 1 r r"], Int32[np.ndarray, " B"]]:
    batch = split.batch(rows)
    return batch.inputs.reshape(len(rows), 1, resolution, resolution), batch.labels


def _turned(images: Float32[np.ndarray, "B 1 r r"], step: int) -> Float32[np.ndarray, "B 1 r r"]:
    """The images of a step, mirrored or turned in one of eight ways, which keeps the labels."""
    images = images.swapaxes(2, 3) if step & 1 else images
    images = images[:, :, ::-1] if step & 2 else images
    images = images[..., ::-1] if step & 4 else images
    return np.ascontiguousarray(images)


def _network(train: Split, resolution: int) -> Any:
    """Halvings to 32 x 32, residual blocks there and on 16 x 16, the greatest value of each channel."""
    from torch import nn, relu

    pixels = train.batch(np.arange(min(_STATISTICS, train.count))).inputs
    mean, deviation = float(pixels.mean()), float(pixels.std())

    def convolution(inputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
        layer = nn.Conv2d(inputs, _CHANNELS, 3, stride, padding=dilation, dilation=dilation, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(_CHANNELS))

    class Standardized(nn.Module):
        def forward(self, x: Any) -> Any:
            return (x - mean) / deviation

    class Block(nn.Module):
        def __init__(self, dilation: int) -> None:
            super().__init__()
            self.first, self.second = convolution(_CHANNELS, dilation=dilation), convolution(_CHANNELS)

        def forward(self, x: Any) -> Any:
            return relu(x + self.second(relu(self.first(x))))

    layers: list[nn.Module] = [Standardized(), convolution(1), nn.ReLU()]
    while resolution > 32:
        layers += [convolution(_CHANNELS, stride=2), nn.ReLU()]
        resolution //= 2
    layers += [*map(Block, _FINE), convolution(_CHANNELS, stride=2), nn.ReLU(), *map(Block, _COARSE)]
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(_CHANNELS, 2))


if __name__ == "__main__":
    sys.exit(main())
