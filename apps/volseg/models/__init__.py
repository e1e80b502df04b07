"""Networks for volumes, one a file, each with an adapter for the checkpoints of its authors."""
