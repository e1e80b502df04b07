"""Sen2_MTC_New: three cloudy dates and a clear one of 50 Sentinel-2 tiles."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import UserError
from ..io.geotiff import rasters_in
from .group_split import Part, check_part
from .scene_series import ListedScenes, Reading, SceneImage, SceneSeries

DATES = 3
TRAIN = """
T49SCC_R018 T47NQA_R018 T21MUR_R010 T13TDL_R041 T55HDT_R073 T39UXT_R092 T13QGF_R012 T46TFR_R033 T43UGV_R091 T16TGN_R083
T24MYU_R052 T19MDQ_R039 T17SKD_R040 T54KTE_R002 T36TUT_R007 T45TVH_R019 T51QUU_R003 T09WWP_R071 T35TMG_R050 T51HVE_R074
T37TGN_R078 T54JWM_R059 T34VEH_R079 T20HQE_R024 T57WXN_R088 T45VXE_R062 T40UEE_R006 T15RUQ_R026 T25MBM_R009 T43UFP_R048
T42VUL_R063 T55KCQ_R016 T30PTR_R008 T43QCE_R005
"""
VALIDATION = "T22MCT_R024 T34TDT_R036 T43UGQ_R048 T60KWF_R072 T39VIF_R078"
TEST = """
T41VMJ_R006 T31TBG_R051 T50JML_R060 T33VXG_R022 T41UNR_R020 T46TEL_R033 T54HTJ_R102 T15UVU_R012 T12TUR_R027 T56JMQ_R030
"""
TILES: dict[Part, list[str]] = {"train": TRAIN.split(), "validation": VALIDATION.split(), "test": TEST.split()}
"""The published split, by tile and orbit."""


class Sen2MTCNew(ListedScenes):
    """Sen2_MTC_New of CTGAN, which PMAA's better known numbers are of.

    Shows: Sentinel-2, 256x256 pixels of 10 m; 687 test samples. Channels: red, green, blue and near infrared. Units:
    reflectance, stored times 10000. Layout: `<tile>/cloudless/<name>.tif` with `<tile>/cloud/<name>_0.tif`, `_1` and
    `_2`, bands in the order above; <name> is what stands before the first dot. Split: the published lists
    of tiles. Licence: none is stated. Citation: Huang and Wu, "CTGAN: Cloud Transformer Generative
    Adversarial Network", ICIP 2022.

    Args:
        folder: `Sen2_MTC`, which holds the tiles.
        part: whose tiles to take.
    """

    licence = "none stated (Sen2_MTC_New)"
    protocol = "new"
    unit = "reflectance"

    def __init__(self, folder: str, part: Part) -> None:
        check_part(part)
        self.folder = Path(folder)
        self.part = part

    def listed(self) -> list[SceneSeries]:
        """Return a sample for each clear image.

        Raises:
            UserError: the folder of a tile is missing or empty, or a clear image has no three cloudy ones.
        """
        return [series for tile in TILES[self.part] for series in self._tile(tile)]

    def _tile(self, tile: str) -> list[SceneSeries]:
        folder = self.folder / tile
        cloudy = {each.stem: each for each in _rasters(folder / "cloud")}
        found = []
        for clear in _rasters(folder / "cloudless"):
            name = clear.name.split(".")[0]
            scene = f"{tile}/{name}"
            files = [cloudy.get(f"{name}_{number}") for number in range(DATES)]
            if None in files:
                number = files.index(None)
                raise UserError(f"{clear}: has no date {number}; expected {folder / 'cloud' / name}_{number}.tif.")
            images = tuple(_image(file, scene, tile) for file in files)
            found.append(SceneSeries(scene, images, _image(clear, scene, tile, is_clear=True)))
        return found


def _image(file: Path, scene: str, tile: str, is_clear: bool = False) -> SceneImage:
    return SceneImage((file,), scene, tile, Reading("1,2,3,4", quantification=10000, offset=0), is_clear=is_clear)


def _rasters(folder: Path) -> list[Path]:
    found = rasters_in(folder)
    if not found:
        raise UserError(
            f"{folder}: is missing or empty; get Sen2_MTC_New, as the repository of CTGAN tells, and arrange it as "
            "Sen2_MTC/<tile>/cloudless and Sen2_MTC/<tile>/cloud."
        )
    return found
