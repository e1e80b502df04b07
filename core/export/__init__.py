"""Export: a network and its card as one file that runs without this package, or without Python."""
