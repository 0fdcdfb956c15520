"""`alpl-balance`: scan the weight of class balance on a run's predictions, and name the one that the thesis takes."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from alpl.commands.messages import check_settings, told
from alpl.errors import ConfigError

MOST = 1000  # of weights: each solves a program


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit with 2 and one line where the run or the weights are refused."""
    options = _parser().parse_args(arguments)
    with told("alpl-balance"):
        _run(options)


def weights_of(text: str) -> list[float]:
    """Read ``START:STOP:STEP``, both ends included.

    Raises:
        ConfigError: it is not that, or not of 1 to 1,000 weights >= 0.

    >>> weights_of("0:0.3:0.1")
    [0.0, 0.1, 0.2, 0.3]
    """
    try:
        start, stop, step = map(float, text.split(":"))
    except ValueError as error:
        raise ConfigError(f"--weights must be START:STOP:STEP, got {text!r}") from error
    if not (math.isfinite(start + stop + step) and 0 <= start <= stop and step > 0 and (stop - start) / step < MOST):
        raise ConfigError(f"--weights must be 0 <= START <= STOP in 1 to {MOST} steps, got {text!r}")
    number = int((stop - start) / step + 1e-9) + 1
    return [round(start + place * step, 10) for place in range(number)]


def _run(options: argparse.Namespace) -> None:
    weights = weights_of(options.weights)
    check_settings(options.settings)
    from omegaconf import OmegaConf  # here and below: they bring torch, which --help needs not

    from alpl.machine.progress import quiet_libraries
    from alpl.studies.balance import scan_run

    quiet_libraries()
    folder, line = scan_run(options.run, weights, options.cycle, OmegaConf.from_dotlist(options.settings))
    print(f"{line}\n{folder}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-balance",
        description="Scan lambda of class-balanced selection on what a run with keep_predictions=true predicted, and "
        "name the smallest after which the l1 norm falls no more (thesis sec. 4.4, Fig. 4.4).",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of the run's config: data.root=/elsewhere")
    parser.add_argument("--weights", default="0:3:0.1", metavar="START:STOP:STEP", help="0:3:0.1 where not given")
    parser.add_argument("--cycle", type=int, default=0, help="whose query it is, the first where not given")
    return parser
