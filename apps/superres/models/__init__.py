"""Networks for super-resolution, one a file, each with an adapter for the checkpoints of its authors."""
