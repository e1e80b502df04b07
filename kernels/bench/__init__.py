"""What the kernels come to on a GPU: held against double precision, then timed: `python -m foveal.kernels.bench`."""
