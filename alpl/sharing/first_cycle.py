"""The first cycle's training, which the rows of a table have in common: one run trains, the others take its files.

Rows of one seed start from one initial set. Those that train and test alike until the first query (see
``determinants.py``) leave the same files there to the last bit, so it is done once, as a product below ``paths.cache``.
What a run does is written to its ``products.json``, before it does anything else.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

from alpl.config.first_cycle import FirstCycleConfig
from alpl.machine.files import read_json, read_sealed, reading, replace_with, sha256_of, write_json, write_sealed
from alpl.machine.processes import rank
from alpl.runs import artefacts
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
        self._waits = False

    # --- asked by the loop

    def share(self, determinants: Callable[[], Mapping[str, Any]], train: Callable[[], object]) -> None:
        """Take the first cycle's fits and the results of its test, or train it for others; what is left, the loop does.

        Args:
            determinants: gives all that they depend on; asked on process 0.
            train: does what is not done of the fits and the test.

        Raises:
            ConfigError: ``paths.cache`` cannot be written to.
            Interrupted: the run leaves.
        """
        if self._products is None:
            return
        if rank() != 0:
            self._follow()
            return
        used, is_tested = self._used(), self._folder.is_done(0, "test")
        if used and used["taken"]:
            if is_tested or self._has_taken(used):
                return
            self._folder.begin_anew()  # a file is gone, or the run was killed while it took: it takes again, or trains
        content = determinants()
        name = self._products.name(KIND, content)
        if is_tested and not (used and used["product"] == name and self._is_kept(used)):
            return  # another version of the code trained it, or it was not shared then, or the weights are gone
        # What other processes have heard is not taken back, and what is half trained is not taken either.
        begun = bool(self._folder.journal) or (content["processes"] > 1 and used is not None and not used["taken"])
        product = self._products.get(KIND, content, partial(self._make, name, train), wait=not begun)
        if self._folder.is_done(0, "test"):
            return
        if product is None or begun:
            self._note(name, taken=False)
        else:
            self._take(product)

    @property
    def taken(self) -> str | None:
        """The product that the files come from; None where the run trains them."""
        used = self._used() if self._products else None
        return str(used["product"]) if used and used["taken"] else None

    def results_taken(self) -> dict[str, Any]:
        """Give what the test gave where the files come from, and let the journal tell so."""
        used = self._used()
        assert used is not None and used["taken"], "asked only then"
        self._stages.note = {"seconds": used["seconds"]["test"], "taken": used["product"]}
        return dict(used["results"])

    def note_results(self, results: Mapping[str, Any]) -> None:
        """Keep what the run's own test gave, and which files were there then, for the product."""
        used = self._used()
        if self._products is not None and used and not used["taken"]:
            self._note(used["product"], taken=False, results=results, files=self._left())

    # --- process 0

    def _make(self, name: str, train: Callable[[], object], folder: Path) -> None:
        """Train, and copy what that left into the product; also where the run was killed before it had copied all."""
        if not self._folder.is_done(0, "test"):
            self._note(name, taken=False)
            train()
        used = self._used()
        assert used is not None, "it was noted"
        for file in used["files"]:
            _copy(self._files.folder / file, folder / file)
        seconds: dict[str, float] = {}
        for entry in self._folder.journal:
            if "test" not in seconds:  # later stages are the row's own
                seconds[entry["stage"]] = entry["seconds"]
        write_json(folder / _RESULTS, {"seconds": seconds, "results": used["results"]})

    def _is_kept(self, used: Mapping[str, Any]) -> bool:
        """Whether what the product is made of is still there."""
        return "results" in used and all((self._files.folder / file).exists() for file in used["files"])

    def _left(self) -> list[str]:
        """List what the fits left: all but what is there before them, or is the row's own."""
        apart = {self._files.pool.name, self._files.metrics.name}
        paths = (path for path in sorted(self._files.folder.rglob("*")) if path.is_file() and path.name not in apart)
        # hidden: what a process was writing when it was killed
        kept = (path for path in paths if path.suffix != ".ckpt" and not path.name.startswith("."))
        return [path.relative_to(self._files.folder).as_posix() for path in kept]

    def _take(self, product: Product) -> None:
        files = [name for name in product.files if name != _RESULTS]
        for name in files:
            _copy(product.folder / name, self._files.folder / name)
        about = read_json(product.folder / _RESULTS)
        self._note(product.name, taken=True, files=files, **about)
        self._mark_taken(product.name, about["seconds"], files)
        self._say(f"takes its first cycle from {product.name}")

    def _mark_taken(self, product: str, seconds: Mapping[str, float], files: Sequence[str]) -> None:
        """Note the fits as done, with the seconds that they took where they were trained.

        The first one answers for all files: where one of them is gone, all of them are taken again.
        """
        paths = [path for path in (self._files.pool, *(self._files.folder / name for name in files)) if path.exists()]
        sums = {path.relative_to(self._folder.path).as_posix(): sha256_of(path) for path in paths}
        for stage in _fits(seconds):
            entry = {"cycle": 0, "stage": stage, "seconds": seconds[stage], "taken": product}
            self._folder.mark_done(entry | {artefacts.FILES: sums})
            sums = {}

    def _has_taken(self, used: Mapping[str, Any]) -> bool:
        """Whether all is there and noted as done; an earlier version of alpl did not note which files it took."""
        whole = "files" in used and all((self._files.folder / file).is_file() for file in used["files"])
        return whole and all(self._folder.is_done(0, stage) for stage in _fits(used["seconds"]))

    def _waiting(self, text: str) -> None:
        if not self._waits:
            self._waits = True
            self._stages.progress.stage(0, "fit")
            self._say(text)
        self._stages.progress.within(text)
        self._stages.interruption.leave()

    def _say(self, text: str) -> None:
        self._stages.progress.say(f"{self._stages.progress.prefix} | {text}")

    # --- the other processes

    def _follow(self) -> None:
        """Wait until process 0 has said who trains, as long as the parent process lives."""
        parent = os.getppid()
        while not (self._folder.is_done(0, "test") or self._is_decided()):
            if os.getppid() != parent:
                raise RuntimeError("process 0 ended before it said who trains cycle 0")
            time.sleep(0.05)

    def _is_decided(self) -> bool:
        used = self._used()
        return used is not None and (not used["taken"] or self._has_taken(used))

    # --- products.json

    def _used(self) -> dict[str, Any] | None:
        path = self._folder.path / USED
        if not path.exists():
            return None
        with reading(path, "which product the run uses"):
            return dict(read_sealed(path)[KIND])

    def _note(self, product: str, *, taken: bool, **more: Any) -> None:
        """Note which product the run uses, and whether it took it or made it."""
        write_sealed(self._folder.path / USED, {KIND: {"product": product, "taken": taken, **more}})


def _fits(seconds: Mapping[str, float]) -> list[str]:
    """Name the stages that train, in their order."""
    return [stage for stage in seconds if stage != "test"]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_with(target, partial(shutil.copyfile, source))
