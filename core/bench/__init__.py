"""Measurements that a user runs on the machine at hand: `foveal bench`."""
