"""The figures that a report can declare: a file each, with a function ``draw`` and its :class:`Caption`."""
