"""The studies: a file each, with the class of its name."""
