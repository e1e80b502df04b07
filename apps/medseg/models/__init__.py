"""Networks for two-dimensional medicine, one a file, each with an adapter for the checkpoints of its authors."""
