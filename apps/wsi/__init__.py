"""Whole slides: tissue, tiles, features, and labels by multiple-instance learning."""

COMMANDS = {
    "tissue": "find the tissue on slides: outlines and previews",
    "tile": "lay tiles over the tissue of slides",
    "features": "describe the tiles of slides by an encoder, for fit and infer",
    "concentration": "compare how concentrated the attention of trained networks is",
}
