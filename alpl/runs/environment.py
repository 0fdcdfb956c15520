"""What a result was made with: commit, versions, device."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "hydra-core",
    "omegaconf",
    "torchmetrics",
    "numpy",
    "scikit-learn",
    "scipy",
    "faiss-cpu",
    "faiss-gpu-cu12",
    "timm",
    "wandb",
)


def describe_environment() -> dict[str, Any]:
    """Git commit of the checkout (None from a wheel), versions of what the numbers depend on, and the device."""
    commit, dirty = _git_state()
    return {
        "alpl": _version("alpl"),
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": describe_device(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "packages": describe_packages(),
    }


def describe_packages() -> dict[str, str]:
    """Versions of what the numbers depend on, where it is installed."""
    return {name: version for name in PACKAGES if (version := _version(name))}


def describe_device(device: torch.device) -> str:
    """Name a device for people: the GPU's name, or the processor's with the threads that torch uses of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"{_processor()}, {threads} {'thread' if threads == 1 else 'threads'}"
    return str(device)


def _processor() -> str:
    """Name the processor; Linux tells it in a file, and Python does not read that."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine() or "CPU"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state() -> tuple[str | None, bool | None]:
    """Give the commit and whether the tree differs from it; of this package's checkout, not of the current folder."""
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit, bool(_git(root, "status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
