"""alpl: active learning and pseudo-labeling for detection and classification.

Read `alpl/loop.py` first: it is the whole framework on one page. The axis letters of every docstring:

    N images    I instances (detections over all N images; I = N in classification)    U unlabeled images
    C outputs of the head    K foreground classes    F features    V views    E epochs    B images of a batch
"""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Give :func:`alpl.querying.select` as ``alpl.select``; what it needs is imported when it is asked for."""
    if name != "select":
        raise AttributeError(f"module 'alpl' has no attribute {name!r}")
    return importlib.import_module("alpl.querying").select
