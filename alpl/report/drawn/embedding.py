"""t-SNE of what was queried (Hekimoglu et al., NORIS, Fig. 4); see alpl/recording/embedding.py.

Axes: n images that one run kept, m images of all runs of a figure, b images of a query, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alpl.errors import DataError
from alpl.machine.files import read_array
from alpl.report.drawn.style import COLORS, house_style, png, wrapped
from alpl.report.read.aggregate import Variant

MOST_QUERIED = 300  # of a row: the first of its choice, so that a figure of ten rows takes seconds
MOST_OTHERS = 1500
LEAST_IMAGES = 10  # fewer have no shape
PERPLEXITY = 30.0  # scikit-learn's and van der Maaten's default
LETTERS = 34  # of a title, a line
PALE = "#B9C2CA"


@final
@dataclass(frozen=True, eq=False)
class Recording:
    """What one run kept of one cycle.

    Args:
        index: ``Long[n]`` dataset indices, ascending.
        features: ``Float[n F]``.
        chosen: ``Long[b]`` places in n of the queried images, in order of choice.
        utility: ``Float[n]``; None for set methods.
    """

    index: np.ndarray
    features: np.ndarray
    chosen: np.ndarray
    utility: np.ndarray | None

    @classmethod
    def load(cls, folder: Path) -> Recording:
        """Read what :func:`alpl.recording.embedding.record_embedding` wrote.

        Raises:
            DataError: an array is missing or does not fit the others.
        """
        index, features, chosen = (read_array(folder / f"{name}.npy") for name in ("index", "features", "chosen"))
        utility = read_array(folder / "utility.npy") if (folder / "utility.npy").exists() else None
        fits = index.ndim == 1 and features.ndim == 2 and len(features) == len(index) and chosen.ndim == 1
        if not fits or (len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(index)):
            shapes = ", ".join(str(list(array.shape)) for array in (index, features, chosen))
            raise DataError(f"{folder} must hold index [n], features [n F] and chosen [b] in [0, n), got {shapes}")
        if (utility is not None and utility.shape != index.shape) or not np.isfinite(features).all():
            raise DataError(f"{folder} must hold finite features, and a utility for each image")
        return cls(index, features, chosen, utility)

    def shares_model_with(self, other: Recording) -> bool:
        """Whether common images have the same features, up to what two machines differ in the last bits."""
        _, here, there = np.intersect1d(self.index, other.index, assume_unique=True, return_indices=True)
        if len(here) < LEAST_IMAGES or self.features.shape[1] != other.features.shape[1]:
            return False
        ours, theirs = self.features[here], other.features[there]
        return bool(np.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(np.abs(ours).max())))


def embedding_figure(data: str, variants: Sequence[Variant], notes: list[str]) -> bytes | None:
    """Draw the first recorded query of the rows of one data set.

    Args:
        data: its name.
        variants: of this data set.
        notes: what cannot be read or drawn is named here (appended to).

    Returns:
        The PNG file; None where nothing is recorded.
    """
    cycle, seed, rows = _first(data, variants, notes)
    small = [label for label, one in rows.items() if len(one.index) < LEAST_IMAGES]
    if small:
        notes.append(f"{data}: a t-SNE of fewer than {LEAST_IMAGES} images has no shape: {', '.join(small)}")
    groups = _groups({label: one for label, one in rows.items() if label not in small})
    return plot_embedding(f"{data}, seed {seed}, query of cycle {cycle}", groups) if groups else None


def plot_embedding(title: str, groups: Sequence[Mapping[str, Recording]]) -> bytes:
    """Draw a panel a row; dots grow with the utility where there is one.

    Args:
        title: of the figure.
        groups: label -> recording, a group a model: its rows share coordinates.

    Returns:
        The PNG file.
    """
    number = sum(len(group) for group in groups)
    columns = min(3, number)
    lines = -(-number // columns)
    with house_style():
        figure = Figure(figsize=(3.3 * columns, 0.5 + 3.4 * lines), layout="constrained")
        figure.suptitle(title, fontsize=12, x=0.01, horizontalalignment="left")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels[number:]:
            axes.set_visible(False)
        left = iter(enumerate(panels))
        for letter, group in enumerate(groups):
            index, features = _joined(list(group.values()))
            places = project(features)
            for (label, one), (place, axes) in zip(group.items(), left, strict=False):
                _draw(axes, places, index, one, COLORS[place % len(COLORS)])
                model = f", model {letter + 1}" if len(groups) > 1 else ""
                axes.set_title(wrapped(f"{label}{model}", LETTERS), fontsize=11)
        return png(figure)


def project(features: np.ndarray) -> np.ndarray:
    """``Float[m F]`` -> ``Float[m 2]`` by t-SNE (van der Maaten and Hinton 2008), begun at the principal components.

    Seeded and on one thread: sums in another order would grow into another picture.
    """
    from sklearn.manifold import TSNE  # here: it takes a second to import
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    with threadpool_limits(1):
        places = TSNE(init="pca", perplexity=perplexity, random_state=0, n_jobs=1).fit_transform(features)
    return np.asarray(places)


def _first(data: str, variants: Sequence[Variant], notes: list[str]) -> tuple[int, int, dict[str, Recording]]:
    """Give the first recorded cycle, the seed of which most rows recorded it, and their recordings."""
    folders = {
        (int(folder.parent.name.removeprefix("cycle_")), run.seed, variant.label): folder
        for variant in variants
        for run in variant.runs
        for folder in sorted(run.folder.glob("cycle_*/embedding"))
    }
    cycle = min((key[0] for key in folders), default=0)
    seeds = [seed for at, seed, _ in folders if at == cycle]
    seed = min(seeds, key=lambda one: (-seeds.count(one), one), default=0)
    found = {}
    for variant in variants:
        if (folder := folders.get((cycle, seed, variant.label))) is not None:
            try:
                found[variant.label] = Recording.load(folder)
            except DataError as error:
                notes.append(f"{data}: the features of {variant.label} are left out: {error}")
    return cycle, seed, found


def _groups(rows: Mapping[str, Recording]) -> list[dict[str, Recording]]:
    """Put rows of the same model together."""
    groups: list[dict[str, Recording]] = []
    for label, one in rows.items():
        for group in groups:
            if one.shares_model_with(next(iter(group.values()))):
                group[label] = one
                break
        else:
            groups.append({label: one})
    return groups


def _joined(rows: Sequence[Recording]) -> tuple[np.ndarray, np.ndarray]:
    """Give index ``Long[m]`` and features ``Float[m F]`` of all rows: what each queried first, and some others."""
    index, first = np.unique(np.concatenate([one.index for one in rows]), return_index=True)
    features = np.concatenate([one.features for one in rows])[first]
    queried = np.unique(np.concatenate([one.index[one.chosen] for one in rows]))
    shown = np.unique(np.concatenate([one.index[one.chosen[:MOST_QUERIED]] for one in rows]))
    others = np.random.default_rng(0).permutation(np.setdiff1d(index, queried))[:MOST_OTHERS]
    kept = np.isin(index, np.concatenate([shown, others]))
    return index[kept], features[kept]


def _draw(axes: Axes, places: np.ndarray, index: np.ndarray, one: Recording, color: str) -> None:
    sizes = _sizes(index, one)
    queried = np.isin(index, one.index[one.chosen])
    axes.scatter(places[~queried, 0], places[~queried, 1], s=sizes[~queried], color=PALE, linewidths=0)
    axes.scatter(
        places[queried, 0], places[queried, 1], s=1.6 * sizes[queried], color=color, edgecolors="white", linewidths=0.4
    )
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if (shown := int(queried.sum())) < len(one.chosen):
        axes.set_xlabel(f"{shown} of {len(one.chosen)} queried images", fontsize=9.5)


def _sizes(index: np.ndarray, one: Recording) -> np.ndarray:
    """``Float[m]`` areas in square points: by the rank of the utility, the middle where it tells nothing."""
    sizes = np.full(len(index), 12.0)
    ordered = np.unique(one.utility) if one.utility is not None else np.zeros(1)
    if one.utility is not None and len(ordered) > 1:
        rank = np.searchsorted(ordered, one.utility) / (len(ordered) - 1)
        _, here, there = np.intersect1d(index, one.index, assume_unique=True, return_indices=True)
        sizes[here] = 4 + 20 * rank[there]
    return sizes
