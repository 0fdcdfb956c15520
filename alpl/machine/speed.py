"""What makes a GPU fast, and changes no result beyond rounding: which of it is on, for which device."""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import torch
import torch.utils.deterministic

from alpl.errors import ConfigError

Switch: TypeAlias = Literal["auto"] | bool
"""``auto``: on a GPU, and not on a CPU, where what was computed before is computed to the last bit."""

AUTO: Literal["auto"] = "auto"
_COMPILERS = ("cc", "gcc", "clang")  # what triton starts its kernels with is C


@final
@dataclass(frozen=True)
class Speed:
    """Switches, as the config has them.

    Args:
        channels_last: weights of convolutions, and so their maps, lie channel by channel, as tensor cores read them.
        compile: the parts of a module that say they can be, by ``torch.compile``; ``auto`` wants triton, a C
            compiler and Python's headers, too.
        fused: the optimizer's step is one kernel, where torch has it (SGD, Adam, AdamW, Adagrad).
        tf32: products of float32 may round their operands to TF32 while a network is trained or asked.
        backend: of ``torch.compile``.

    Raises:
        ConfigError: a switch is neither true, false nor ``auto``, or torch does not know the backend.
    """

    channels_last: Switch = AUTO
    compile: Switch = AUTO
    fused: Switch = AUTO
    tf32: Switch = AUTO
    backend: str = "inductor"

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name != "backend" and value != AUTO and not isinstance(value, bool):
                raise ConfigError(f"speed.{each.name} must be true, false or auto, got {value!r}")
        if self.compile is True and self.backend not in (known := torch.compiler.list_backends(())):
            raise ConfigError(f"speed.backend must be one of {', '.join(known)}, got {self.backend!r}")

    def on(self, device: torch.device) -> Speed:
        """Give the same with every ``auto`` decided for a device."""
        is_cuda = device.type == "cuda"
        autos: dict[str, Any] = {
            each.name: is_cuda and (each.name != "compile" or _can_compile())
            for each in fields(self)
            if getattr(self, each.name) == AUTO
        }
        return replace(self, **autos)


def settled_precision(precision: Any, accelerator: Any) -> Any:
    """Give Lightning's name of a precision: for ``auto`` bfloat16 where a GPU computes in it, else float32.

    Args:
        precision: as configured.
        accelerator: of the trainer, as configured.

    >>> settled_precision("auto", "cpu"), settled_precision("16-mixed", "auto")
    ('32-true', '16-mixed')
    """
    if precision != AUTO:
        return precision
    on_cuda = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


@contextmanager
def short_products(*, allowed: bool) -> Iterator[None]:
    """Let products of float32 round their operands to TF32, or none, not even convolutions, as torch lets them.

    Afterwards all is as it was. Whatever selects images computes outside of it.
    """
    cudnn: Any = torch.backends.cudnn
    before, convolutions = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    try:
        if allowed:
            torch.set_float32_matmul_precision("high")
        else:
            cudnn.allow_tf32 = False
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        cudnn.allow_tf32 = convolutions


@contextmanager
def unfilled_memory() -> Iterator[None]:
    """Leave memory as it comes, also where algorithms are deterministic: there torch fills all that it allocates.

    That is to find code that reads what nobody wrote; no result depends on it where there is none.
    """
    setting: Any = torch.utils.deterministic  # whose attribute is made while it runs
    before = setting.fill_uninitialized_memory
    try:
        setting.fill_uninitialized_memory = False
        yield
    finally:
        setting.fill_uninitialized_memory = before


def _can_compile() -> bool:
    header = Path(sysconfig.get_paths()["include"], "Python.h")  # which triton's starter includes
    return importlib.util.find_spec("triton") is not None and any(map(shutil.which, _COMPILERS)) and header.is_file()
