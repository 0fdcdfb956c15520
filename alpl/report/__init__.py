"""Results as tables, figures and one page. No torch: the reading command starts at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alpl.report.page.write import summary, write_report

__all__ = ["summary", "write_report"]


def __getattr__(name: str) -> Any:
    """Import what writes a report when it is asked for: what reads the paper's tables needs no matplotlib."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from alpl.report.page import write

    return getattr(write, name)
