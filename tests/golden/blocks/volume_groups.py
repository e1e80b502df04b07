"""D-Former's block."""

from group_block import group_block

BLOCKS = {"dformer": group_block}
