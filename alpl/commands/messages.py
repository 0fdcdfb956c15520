"""How an error is told: on one line, and as an exit status; with its trace where HYDRA_FULL_ERROR=1 asks for it."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from alpl.config.compose import EXPERIMENTS
from alpl.errors import ConfigError, DataError, RunLockedError
from alpl.machine.terminal import leave_closed_pipe, printable, tolerate_narrow_encodings
from alpl.preflight.targets import imported, named_arguments

USER_ERRORS = (ConfigError, DataError, RunLockedError)

_TRACES = "ALPL_TRACES"  # whether the user set HYDRA_FULL_ERROR; inherited by the processes of a launcher


def let_errors_through() -> None:
    """Have Hydra raise its errors instead of printing them, and remember what the user wants to see of them.

    What is printed may be of any letters.
    """
    tolerate_narrow_encodings()
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


@contextmanager
def told(command: str) -> Iterator[None]:
    """Let what a reading command is refused end in one line and exit status 2, and let it print any letters.

    Args:
        command: its name.
    """
    tolerate_narrow_encodings()
    try:
        yield
        sys.stdout.flush()
        return
    except BrokenPipeError:
        leave_closed_pipe()
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename else one_line(error)
    except (*USER_ERRORS, HydraException, OmegaConfBaseException) as error:
        # what hydra.utils.instantiate wraps says it without the target
        text = one_line(error.__cause__ if isinstance(error.__cause__, USER_ERRORS) else error)
    print(f"{command}: error: {printable(text)}", file=sys.stderr)
    raise SystemExit(2)


def check_settings(settings: Sequence[str]) -> None:
    """Refuse words of a command line that are not ``KEY=VALUE``.

    Raises:
        ConfigError: one is not; names the first.
    """
    if wrong := [text for text in settings if "=" not in text]:
        raise ConfigError(f"settings must be KEY=VALUE, got {wrong[0]}")


def one_line(error: BaseException) -> str:
    """Give an error's message on one line, with its type where the type says what went wrong."""
    text = " ".join(str(error).split())
    for noise in (" Config search path:", " Set the environment variable HYDRA_FULL_ERROR", " See https://hydra.cc"):
        text = text.split(noise)[0]
    if "Could not find 'experiment/" in text:  # hydra lists only those of the top folder
        tables = sorted(str(path.relative_to(EXPERIMENTS).with_suffix("")) for path in EXPERIMENTS.rglob("*.yaml"))
        text = f"{text.split(' Available options')[0]}; there are {', '.join(tables)}"
    else:
        text = _with_suggestion(text, error)
    text = printable(text)
    known = isinstance(error, (*USER_ERRORS, HydraException, OmegaConfBaseException))
    return text if known and text else f"{type(error).__name__}: {text}"


def with_place(message: str, error: BaseException, config: DictConfig) -> str:
    """Say where in the config a message belongs, if Hydra made the object: before its argument's name, or behind all.

    Args:
        message: the cause's, maybe beginning with the name of the argument that is wrong.
        error: Hydra's, which tells the place, or any other.
        config: the run's.
    """
    found = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE) if isinstance(error, HydraException) else None
    if found is None or message.startswith(f"{found[1]}."):
        return message
    node = OmegaConf.select(config, found[1])
    is_argument = isinstance(node, DictConfig) and message.split(" ")[0] in node
    return f"{found[1]}.{message}" if is_argument else f"{message} (full_key: {found[1]})"


def _with_suggestion(text: str, error: BaseException) -> str:
    """Put the name that was probably meant in place of Hydra's list of choices, or of its advice to append."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return _with_choice(text, error.missing_cfg_file, list(error.options))
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and isinstance(cause.parent_node, DictConfig):
        return _with_key(text, str(cause.full_key), cause.parent_node)
    return text


def _with_choice(text: str, name: str, options: list[str]) -> str:
    last = name.rpartition("/")[2]
    close = difflib.get_close_matches(last, options, n=1, cutoff=0.8)  # less is another thing, not another spelling
    start = text.split(" Available options in")[0].rstrip(".")
    return f"{start}; did you mean {name.removesuffix(last)}{close[0]}?" if close else text


def _with_key(text: str, name: str, parent: DictConfig) -> str:
    """Name the key that is meant; Hydra's advice to append stays where the key would be taken."""
    last = name.rpartition(".")[2]
    start = text.split(" To append to your config")[0].rstrip(".")
    known = [str(key) for key in parent]
    if close := difflib.get_close_matches(last, known, n=1):
        return f"{start}; did you mean {name.removesuffix(last)}{close[0]}?"
    if "_target_" in parent and last in (named_arguments(imported(name, parent._target_)) or {}):
        return text
    if elsewhere := list(_places(OmegaConf.to_container(parent._get_root(), resolve=False), last)):
        return f"{start}; did you mean {' or '.join(elsewhere[:3])}?"
    return f"{start}; known: {', '.join(sorted(key for key in known if not key.startswith('_')))}"


def _places(node: Any, key: str, place: str = "") -> Iterator[str]:
    """Walk the places of a config that end in a key."""
    for name, value in node.items() if isinstance(node, dict) else ():
        here = f"{place}.{name}" if place else str(name)
        if name == key:
            yield here
        if here != "hydra":
            yield from _places(value, key, here)
