"""Organs and lesions in volumes: CT and MR segmented as three-dimensional images."""

COMMANDS = {"convert": "write DICOM series and their labels as a dataset of NIfTI files"}
