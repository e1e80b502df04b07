"""What is done with a damaged file, by format: a program runs on it, and must leave a whole output or nothing."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from foveal.core.inference.engine import Engine
from foveal.data.io.formats import Kind, open_sink, open_source
from foveal.tests.fixtures.programs import identity

SUFFIXES: dict[Kind, str] = {"image": ".png", "dicom": ".nii.gz", "nifti": ".nii", "geotiff": ".tif", "slide": ".tif"}
TILE = 64


def _infer(path: Path, kind: Kind) -> None:
    """Copy a file through the engine into a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with open_source(path, kind) as source:
                suffix = SUFFIXES[kind]
                if kind == "dicom" and source.geometry is None:
                    if source.spatial == 3:
                        return  # no format holds the copy of a film
                    suffix = ".dcm"
                output = Path(folder) / f"{path.name}{suffix}"
                channels = tuple(map(str, range(source.shape[-source.spatial - 1])))
                program = identity(channels=channels, dimensions=source.spatial, tile=TILE)
                with open_sink(output, kind, source, program.card, fingerprint="work") as sink:
                    Engine(program, program.card).run(source, sink)
        except Exception:
            left = sorted(each.name for each in Path(folder).rglob("*"))
            assert not left, f"left behind: {', '.join(left)}"
            raise
        assert [each.name for each in Path(folder).iterdir()] == [output.name]


image = partial(_infer, kind="image")
dicom = partial(_infer, kind="dicom")
nifti = partial(_infer, kind="nifti")
geotiff = partial(_infer, kind="geotiff")
slide = partial(_infer, kind="slide")
