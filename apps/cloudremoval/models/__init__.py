"""Networks for cloud removal, one a file, each with an adapter for the checkpoints of its authors."""
