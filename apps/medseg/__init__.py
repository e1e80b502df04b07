"""Two-dimensional medicine: segmentation of slices, and classification of radiographs."""
