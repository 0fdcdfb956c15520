"""How an error is told: on one line, and as an exit status; with its trace where HYDRA_FULL_ERROR=1 asks for it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from alpl.config import EXPERIMENTS
from alpl.errors import ConfigError, DataError, RunLockedError

USER_ERRORS = (ConfigError, DataError, RunLockedError)

_TRACES = "ALPL_TRACES"  # whether the user set HYDRA_FULL_ERROR; inherited by the processes of a launcher


def let_errors_through() -> None:
    """Have Hydra raise its errors instead of printing them, and remember what the user wants to see of them."""
    os.environ.setdefault(_TRACES, os.environ.get("HYDRA_FULL_ERROR", "0"))
    os.environ["HYDRA_FULL_ERROR"] = "1"


def wants_traces() -> bool:
    """Whether the user asked for traces."""
    return os.environ[_TRACES] == "1"


def refuse(error: Exception, status: int = 2) -> NoReturn:
    """Tell an error and exit."""
    if wants_traces():
        raise error
    print(f"alpl: error: {one_line(error)}", file=sys.stderr)
    sys.exit(status)


def one_line(error: BaseException) -> str:
    """Give an error's message on one line, with its type where the type says what went wrong."""
    text = " ".join(str(error).split())
    for noise in (" Config search path:", " Set the environment variable HYDRA_FULL_ERROR", " See https://hydra.cc"):
        text = text.split(noise)[0]
    if "Could not find 'experiment/" in text:  # hydra lists only those of the top folder
        tables = sorted(str(path.relative_to(EXPERIMENTS).with_suffix("")) for path in EXPERIMENTS.rglob("*.yaml"))
        text = f"{text.split(' Available options')[0]}; there are {', '.join(tables)}"
    known = isinstance(error, (*USER_ERRORS, HydraException, OmegaConfBaseException))
    return text if known and text else f"{type(error).__name__}: {text}"
