"""What the extras of this package hold, and how it is installed."""

from __future__ import annotations

from importlib import metadata


def installing(extra: str) -> str:
    """Give the command that installs what an extra holds: the packages by name, as no index has alpl itself.

    >>> installing("timm")
    "pip install 'timm>=1.0'"
    """
    requirements = [text.partition(";") for text in metadata.requires("alpl") or ()]
    wanted = [
        name.strip() for name, _, marker in requirements if marker.replace("'", '"').strip() == f'extra == "{extra}"'
    ]
    return f"pip install {' '.join(repr(name) for name in wanted)}"
