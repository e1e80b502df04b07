"""The metrics of the restoration and remote-sensing systems, and the bicubic resizing that makes their data."""

import re
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch
from parity import Case
from torch import Tensor

from foveal.core.blocks.resampling import bicubic_resize
from foveal.core.metrics.classification import class_accuracy, cohen_kappa, confusion_matrix, overall_accuracy
from foveal.core.metrics.image import crop_border, gaussian_window, luma, psnr, ssim, ycbcr
from foveal.core.metrics.satellite import cloud_removal_scores
from foveal.core.metrics.spectral import band_psnr, band_ssim, spectral_angle

TOLERANCES = {
    "bicubic*": 2e-6,  # the reference computes in float32
    "classification*": 1e-5,  # the reference computes in float32
}

LARGEST_BORDER = 16

SCALES = {
    "half": Fraction(1, 2),
    "third": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "fifth": Fraction(1, 5),
    "sixth": Fraction(1, 6),
    "eighth": Fraction(1, 8),
    "double": Fraction(2),
    "triple": Fraction(3),
    "quadruple": Fraction(4),
}
CORNERS = {"grow": (12, 15), "odd": (37, 45)}  # rows and columns, where the case's notes give no others


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return everything that a metric case of this variant can ask for."""
    variant = case.meta["variant"]
    compute = next((function for name, function in VARIANTS.items() if variant.startswith(name)), None)
    if compute is None:
        raise LookupError(f"no metric is known for the variant {variant!r}")
    return {name: np.asarray(value) for name, value in compute(case).items()}


def channels_first(image: np.ndarray) -> Tensor:
    """Return (H, W, C) as a (C, H, W) tensor."""
    return torch.from_numpy(image).movedim(-1, 0)


def channels_last(image: Tensor) -> np.ndarray:
    """Return (C, H, W) as an (H, W, C) array."""
    return image.movedim(0, -1).numpy()


def by_border(score: Callable[[str, int], dict[str, Tensor]], height: int, width: int) -> dict[str, Tensor]:
    """Collect the scores on luma and on RGB for every border that leaves room for the SSIM window."""
    found = {}
    for border in range(min(LARGEST_BORDER, (min(height, width) - 11) // 2) + 1):
        for colours in ("y", "rgb"):
            found |= {f"{name}_{colours}_crop{border}": value for name, value in score(colours, border).items()}
    return found


def sr_uint8(case: Case) -> dict[str, Tensor | np.ndarray]:
    """Scores and colour conversions of 8-bit images."""
    images = [channels_first(image) for image in case.inputs]

    def score(colours: str, border: int) -> dict[str, Tensor]:
        pair = [crop_border(image, border) for image in images]
        pair = [luma(image) for image in pair] if colours == "y" else pair
        return {"psnr": psnr(*pair), "ssim": ssim(*pair)}

    found = by_border(score, *images[0].shape[-2:])
    found["window"] = torch.outer(gaussian_window(), gaussian_window())
    for i, image in enumerate(images):
        found[f"y_channel_{i}"] = luma(image)[0]
        found[f"ycbcr_uint8_{i}"] = channels_last(ycbcr(image).round().to(torch.uint8))
        found[f"y_uint8_{i}"] = luma(image)[0].round().to(torch.uint8)
    return found


def sr_float(case: Case) -> dict[str, Tensor]:
    """Scores of batches in 0..1 that are not rounded."""
    batches = [torch.from_numpy(batch) for batch in case.inputs]

    def score(colours: str, border: int) -> dict[str, Tensor]:
        pair = [crop_border(batch, border) for batch in batches]
        pair = [luma(batch) / 255 for batch in pair] if colours == "y" else pair
        return {"psnr": psnr(*pair, peak=1.0, epsilon=1e-8), "ssim": ssim(*pair, peak=1.0)}

    return by_border(score, *batches[0].shape[-2:])


def bicubic(case: Case) -> dict[str, np.ndarray]:
    """Resized images: <scale>, <scale>_odd of a corner of odd size, each also with the ending _noantialias."""
    image = channels_first(case.inputs[0])
    corners = CORNERS | noted_corners(case)
    found = {}
    for name, scale in SCALES.items():
        whole = corners["grow"] if scale > 1 else image.shape[1:]
        for kind, (rows, columns) in {"": whole, "_odd": corners["odd"]}.items():
            for ending, antialias in {"": True, "_noantialias": False}.items():
                resized = bicubic_resize(image[:, :rows, :columns], scale, antialias)
                found[name + kind + ending] = channels_last(resized)
    return found


def noted_corners(case: Case) -> dict[str, tuple[int, int]]:
    """Read from the case's notes which top-left corners of the image, in rows and columns, it makes outputs from."""
    corners = {}
    for names, rows, columns in re.findall(r"([\w/]+): [^;:]*top-left (\d+)x(\d+) corner", case.meta.get("notes", "")):
        first = names.split("/")[0]
        kind = "odd" if first.endswith("_odd") else "grow" if SCALES.get(first, 0) > 1 else first
        corners[kind] = (int(rows), int(columns))
    return corners


def sen2mtc(case: Case) -> dict[str, Tensor]:
    """Cloud removal scores, and SSIM with the window that scikit-image takes by default."""
    pair = [channels_first(image) for image in case.inputs]
    uniform = torch.full((7,), 1 / 7, dtype=torch.float64)
    default = ssim(*pair, window=uniform, sample_covariance=True)
    return {**cloud_removal_scores(*pair), "ssim_default_window": default}


def udc(case: Case) -> dict[str, Tensor]:
    """Mean over the images of the PSNR with peak 1."""
    return {"psnr": psnr(*(torch.from_numpy(batch) for batch in case.inputs), peak=1.0).mean()}


def hyperspectral(case: Case) -> dict[str, Tensor]:
    """Scores by band, their means, and the spectral angle."""
    truth, estimate = (torch.from_numpy(cube) for cube in case.inputs)
    bands = band_psnr(estimate, truth)
    found = {"psnr_bands": bands, "mpsnr": bands.mean(), "sam": spectral_angle(estimate, truth)}
    for data_range in (1, 2):
        bands = band_ssim(estimate, truth, data_range)
        found |= {f"ssim_bands_range{data_range}": bands, f"mssim_range{data_range}": bands.mean()}
    return found


def classification(case: Case) -> dict[str, Tensor]:
    """Label accuracies."""
    truth, prediction = (torch.from_numpy(labels) for labels in case.inputs)
    classes = case.meta["config"].get("classes", int(truth.max()))
    confusion = confusion_matrix(truth, prediction, classes)
    each = class_accuracy(confusion)
    return {"oa": overall_accuracy(confusion), "aa": each.mean(), "per_class": each, "kappa": cohen_kappa(confusion)}


VARIANTS = {
    "sr_uint8": sr_uint8,
    "sr_float": sr_float,
    "bicubic": bicubic,
    "sen2mtc": sen2mtc,
    "udc": udc,
    "hyperspectral": hyperspectral,
    "classification": classification,
}
