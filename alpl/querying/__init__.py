"""Who to label next without a run: the acquisitions of the framework on arrays that somebody else's model made."""

from alpl.querying.named import acquisition_of
from alpl.querying.select import select

__all__ = ["acquisition_of", "select"]
