"""Data sets, transforms, and the data module that splits them into pools."""
