"""Blocks of matrices, as Triton kernels load and store them."""

import triton
import triton.language as tl


@triton.jit
def load(base, rows, columns, num_rows, num_columns, stride, WIDE: tl.constexpr):
    """Load a block of a matrix, zero beyond its ends."""
    inside = (rows < num_rows)[:, None] & (columns < num_columns)[None, :]
    block = tl.load(base + rows[:, None].to(tl.int64) * stride + columns[None, :], mask=inside, other=0.0)
    return block.to(tl.float32) if WIDE else block


@triton.jit
def store(base, block, rows, columns, num_rows, num_columns, stride):
    """Store a block of a matrix, but for what lies beyond its ends."""
    inside = (rows < num_rows)[:, None] & (columns < num_columns)[None, :]
    tl.store(
        base + rows[:, None].to(tl.int64) * stride + columns[None, :], block.to(base.dtype.element_ty), mask=inside
    )
