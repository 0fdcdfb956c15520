"""Images a second of alpl's fits and predictions beside those of the bare torch loop, same network and loader.

    python tests/benchmarks/throughput.py [--device cuda] [--tiny] [--images 20000] [--epochs 3] [key=value ...]

ResNet-18 for CIFAR on made-up images of its size, batches of 256, with the settings of `data=cifar10` and, on a GPU,
all that `speed` turns on. Ours is what the run itself notes of its last cycle, whose networks find all compiled; the
bare loop has warmed up, too. What ours does beside (the mean loss, seeds, checkpoints, progress) is in ours only, and
so is writing predictions. Further words are overrides of the config. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import torch
import torch.nn.functional as F
from command import alpl
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict

from alpl.callbacks.fast_network import to_channels_last
from alpl.callbacks.static_shapes import StaticShapes, compiled_calls
from alpl.commands.sweep import compose_job
from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractSource
from alpl.machine.speed import settled_precision, short_products
from alpl.pool import Pool
from alpl.runs.environment import describe_device


class MadeUp(AbstractSource):
    """Random bytes of CIFAR's size, ten classes."""

    def __init__(self, number: int = 20_000, test: int = 1000) -> None:
        self.number, self.test = number, test

    def load(self) -> Splits:
        draw = torch.Generator().manual_seed(0)
        sets = [
            ImageSet(
                torch.randint(256, (number, 3, 32, 32), generator=draw).byte(),
                torch.randint(10, (number,), generator=draw),
            )
            for number in (self.number, self.test)
        ]
        return Splits(*sets, tuple("0123456789"))


def overrides_of(given: argparse.Namespace) -> list[str]:
    labeled = given.images // 2
    common = [
        "data=cifar10", "data.source._target_=throughput.MadeUp", "data.root=null",
        f"+data.source.number={given.images}",
        "acquisition=margin", f"schedule.initial.size={labeled}", f"schedule.budget={given.images // 10}",
        "schedule.cycles=1", f"trainer.max_epochs={given.epochs}", f"trainer.accelerator={given.device}", "gallery=0",
        "informativeness=false", "share_first_cycle=false", "model.scheduler=null",
    ]  # fmt: skip
    tiny = ["model=small_cifar", "data.batch_size=32", "+data.source.test=100", "num_threads=1"]
    return common + (tiny if given.tiny else []) + given.overrides


def ours(overrides: list[str]) -> dict[str, dict[str, Any]]:
    """What a run notes of its fit of the last cycle and of its prediction."""
    with tempfile.TemporaryDirectory() as folder:
        result = alpl(Path(folder), *overrides)
        if result.status:
            raise SystemExit(result.err)
        entries = [json.loads(line) for line in (result.run_folder() / "journal.jsonl").read_text().splitlines()]
    stages = {entry["stage"].split("_")[0]: entry for entry in entries}  # the last of each kind
    return {kind: stages[kind] for kind in ("fit", "predict")}


class Bare:
    """The loop that one writes without a framework, on the loaders of the data module."""

    def __init__(self, config: DictConfig, device: torch.device, stack: ExitStack) -> None:
        self.data = instantiate(config.data, _convert_="all")
        self.data.setup()
        _, targets = self.data.take_targets()
        labeled = torch.arange(int(config.schedule.initial.size) + int(config.schedule.budget))
        self.data = self.data.with_pool(Pool.create(self.data.num_images, labeled), targets[labeled])
        self.data = self.data.observing(torch.arange(len(labeled), self.data.num_images))
        self.network = instantiate(config.model, _convert_="all", **self.data.module_arguments).network.to(device)
        place = SimpleNamespace(root_device=device)
        self.data.trainer = SimpleNamespace(strategy=place, global_rank=0, world_size=1, lightning_module=self.network)
        speed = instantiate(config.speed).on(device)
        stack.enter_context(short_products(allowed=bool(speed.tf32)))
        if speed.channels_last:
            to_channels_last(self.network)
        make = instantiate(config.model.optimizer, _convert_="all")
        self.optimizer = make(self.network.parameters(), **({"fused": True} if speed.fused else {}))
        self.precision = settled_precision(config.trainer.precision, config.trainer.accelerator)
        self.device = device
        if speed.compile:
            calls = compiled_calls(speed.backend)
            self.network.forward = StaticShapes(self.network, self.data.static_sizes, calls, print)

    def batches(self, loader: Any) -> Iterator[Any]:
        for batch in loader:
            moved = batch._replace(
                **{
                    name: value.to(self.device, non_blocking=True)
                    for name, value in batch._asdict().items()
                    if isinstance(value, torch.Tensor)
                }
            )
            yield self.data.on_after_batch_transfer(moved, 0)

    def autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")

    def fit(self, epochs: int) -> int:
        self.network.train()
        images, loader = 0, self.data.train_dataloader()
        for epoch in range(epochs):
            loader.sampler.set_epoch(epoch)
            for batch in self.batches(loader):
                with self.autocast():
                    loss = F.cross_entropy(self.network(batch.images)[0], batch.targets)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                images += len(batch.index)
        return images

    @torch.no_grad()
    def predict(self) -> int:
        self.network.eval()
        parts = []
        for batch in self.batches(self.data.predict_dataloader()):
            with self.autocast():
                parts.append(self.network(batch.images)[0].float().softmax(-1).cpu())
        return len(torch.cat(parts))

    def rate(self, work: Any) -> float:
        self._wait()
        start = time.perf_counter()
        images = work()
        self._wait()
        return images / (time.perf_counter() - start)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def bare(overrides: list[str], device: torch.device, epochs: int) -> tuple[dict[str, float], str]:
    config = compose_job(overrides)
    with open_dict(config):
        del config["hydra"]
    with ExitStack() as stack:
        loop = Bare(config, device, stack)
        loop.fit(1), loop.predict()
        return {"fit": loop.rate(lambda: loop.fit(epochs)), "predict": loop.rate(loop.predict)}, loop.precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--images", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    given.images = given.images or (200 if given.tiny else 20_000)
    given.epochs = given.epochs or (1 if given.tiny else 3)
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device")
    device, overrides = torch.device(given.device), overrides_of(given)
    if given.tiny:
        torch.set_num_threads(1)
    noted = ours(overrides)
    plain, precision = bare(overrides, device, given.epochs)
    told: dict[str, Any] = {"device": describe_device(device), "precision": precision, "images": given.images}
    for kind, note in noted.items():
        rate = note["images_per_second"]
        told[kind] = {
            "alpl": rate, "bare": round(plain[kind], 1), "ratio": round(rate / plain[kind], 3),
            "waiting": note["waiting"], "gpu_bytes": note.get("gpu_bytes"),
        }  # fmt: skip
        print(f"{kind}: alpl {rate:.0f} images/s, bare loop {plain[kind]:.0f}, {note['waiting']:.1%} waiting for data")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
