"""Data that comes with an installed package: enough to train and to look, without a download."""

from pathlib import Path

from ..core.errors import UserError
from ..core.messages import suggestion
from .datasets.image_folder import pictures_in
from .datasets.pairs import Pair


class SamplePhotographs:
    """Photographs inside the scikit-image wheel.

    Shows: an astronaut, a cat, textures, a galaxy field, a retina and more, 300 to 1400 pixels, 8 bits.
    Channels: grey or RGB. Licence: public domain or CC0 but for
    the motorcycle, see the documentation of `skimage.data`. Citation:
    van der Walt et al., "scikit-image: image processing in Python", PeerJ 2014.

    Args:
        names: file names, e.g. ["astronaut.png"].
    """

    licence = "public domain or CC0"

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def pairs(self, scale: int) -> list[Pair]:
        """Return one pair per photograph."""
        return [Pair(Path(name).stem, sample_photograph(name)) for name in self.names]


def sample_photograph(name: str = "chelsea.png") -> Path:
    """Return the file of a photograph inside the scikit-image wheel; by default a cat, 451x300 pixels, RGB, CC0.

    Raises:
        UserError: there is no photograph of this name; a near name is suggested.
    """
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    names = [path.name for path in pictures_in(folder)]
    if name not in names:
        raise UserError(f"scikit-image holds no photograph '{name}'{suggestion(name, names)}")
    return folder / name
