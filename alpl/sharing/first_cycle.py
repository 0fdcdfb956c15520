"""The first cycle's training, which the rows of a table have in common: one run trains, the others take its files.

Rows of one seed start from one initial set. Those that train and test alike until the first query (see
``determinants.py``) leave the same files there to the last bit, so it is done once, as a product below ``paths.cache``.
What a run does is written to its ``products.json``, before it does anything else.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, final

from alpl.config.first_cycle import FirstCycleConfig
from alpl.machine.files import read_json, replace_with, write_json
from alpl.machine.processes import rank
from alpl.runs.products import Product, Products
from alpl.runs.stages import Stages

KIND = "first_cycle"
USED = "products.json"
_RESULTS = "results.json"  # in the product: what the test gave, and the seconds of the stages


@final
class FirstCycle:
    """Lets a run train its first cycle, or take it.

    A product is copied, not linked: were a run's file changed in place (the prediction tracker does so while it
    records), a link would change it for all runs. It costs the disk what the runs' own files would.

    Args:
        stages: of the run.
        config: where the first cycle is shared; None where the run trains it in any case.
    """

    def __init__(self, stages: Stages, config: FirstCycleConfig | None) -> None:
        self._stages = stages
        self._folder = stages.folder
        self._files = stages.folder.cycle(0)
        self._products = None if config is None else Products(config.cache, self._waiting)
        self._tested: dict[str, Any] = {}
        self._waits = False

    # --- asked by the loop

    def run(self, determinants: Callable[[], Mapping[str, Any]], train: Callable[[], None]) -> None:
        """Have the files of the first cycle's fit and test there at the end.

        Args:
            determinants: gives all that they depend on; asked on process 0.
            train: does the stages that are not done.

        Raises:
            ConfigError: ``paths.cache`` cannot be written to.
            Interrupted: the run leaves.
        """
        if self._products is None or self._folder.is_done(0, "test"):
            train()
        elif rank() != 0:
            self._follow()
            train()
        else:
            self._lead(self._products, determinants, train)

    @property
    def taken(self) -> str | None:
        """The product that the files come from; None where the run trained them."""
        used = self._used()
        return str(used["product"]) if self._products and used and used["taken"] else None

    def test_results(self, own: dict[str, Any]) -> dict[str, Any]:
        """Give what the first cycle's test gave: where the files are taken what it gave then, else the run's own."""
        used = self._used()
        if self.taken and used:
            self._stages.note = {"seconds": used["seconds"]["test"], "taken": self.taken}
            return dict(used["results"])
        self._tested = own
        return own

    # --- process 0

    def _lead(
        self, products: Products, determinants: Callable[[], Mapping[str, Any]], train: Callable[[], None]
    ) -> None:
        if self.taken:
            self._mark_taken()
            train()
            return
        content = determinants()
        name = products.name(KIND, content)
        # What other processes have heard is not taken back, and what is half trained is not taken either.
        begun = bool(self._folder.journal) or (content["processes"] > 1 and self._used() is not None)

        def make(folder: Path) -> None:
            self._note(name, taken=False)
            train()
            self._fill(folder)

        product = products.get(KIND, content, make, wait=not begun)
        if self._folder.is_done(0, "test"):
            return
        if product is None or begun:
            self._note(name, taken=False)
        else:
            self._take(product)
        train()

    def _waiting(self, text: str) -> None:
        if not self._waits:
            self._waits = True
            self._stages.progress.stage(0, "fit")
            self._say(text)
        self._stages.progress.within(text)
        self._stages.interruption.leave()

    def _say(self, text: str) -> None:
        self._stages.progress.say(f"{self._stages.progress.prefix} | {text}")

    def _fill(self, folder: Path) -> None:
        """Put what fit and test left into the product: all but what is there before them, or is the row's own."""
        left_out = {self._files.pool.name, self._files.metrics.name}
        for path in sorted(self._files.folder.rglob("*")):
            is_left = path.is_file() and path.name not in left_out and path.suffix != ".ckpt"
            if is_left and not path.name.startswith("."):  # hidden: still being written when a process was killed
                _copy(path, folder / path.relative_to(self._files.folder))
        seconds = {entry["stage"]: entry["seconds"] for entry in self._folder.journal if entry.get("cycle") == 0}
        write_json(folder / _RESULTS, {"seconds": seconds, "results": self._tested})

    def _take(self, product: Product) -> None:
        for name in product.files:
            if name != _RESULTS:
                _copy(product.folder / name, self._files.folder / name)
        self._note(product.name, taken=True, **read_json(product.folder / _RESULTS))
        self._mark_taken()
        self._say(f"takes its first cycle from {product.name}")

    def _mark_taken(self) -> None:
        """Note the fits as done, with the seconds that they took where they were trained."""
        used = self._used()
        assert used is not None, "it was noted"
        for stage, seconds in used["seconds"].items():
            if stage != "test" and not self._folder.is_done(0, stage):
                entry = {"cycle": 0, "stage": stage, "seconds": seconds, "taken": used["product"]}
                self._folder.mark_done(entry)

    # --- the other processes

    def _follow(self) -> None:
        """Wait until process 0 has said who trains, as long as the parent process lives."""
        parent = os.getppid()
        while not self._is_decided():
            if os.getppid() != parent:
                raise RuntimeError("process 0 ended before it said who trains cycle 0")
            time.sleep(0.05)

    def _is_decided(self) -> bool:
        used = self._used()
        if used is None:
            return False
        fits = [stage for stage in used.get("seconds", {}) if stage != "test"]
        return all(self._folder.is_done(0, stage) for stage in fits)

    # --- products.json

    def _used(self) -> dict[str, Any] | None:
        path = self._folder.path / USED
        return dict(read_json(path)[KIND]) if path.exists() else None

    def _note(self, product: str, *, taken: bool, **more: Any) -> None:
        """Note which product the run uses, and whether it took it or made it."""
        write_json(self._folder.path / USED, {KIND: {"product": product, "taken": taken, **more}})


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_with(target, partial(shutil.copyfile, source))
