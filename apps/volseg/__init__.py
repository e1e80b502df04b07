"""Organs and lesions in volumes: CT and MR segmented as three-dimensional images."""
