"""Images and masks of two folders, or of one, that belong together by their names."""

from collections import Counter
from pathlib import Path

from ...core.errors import UserError
from ..inventory import OUTPUTS_OF_LABELS, Item, pair
from ..io.formats import Kind, input_suffixes, split_name, suffix_of
from .masked_samples import natural_order


def stem_pairs(images: Path, masks: Path, kinds: tuple[Kind, ...]) -> list[tuple[Path, Path]]:
    """Return the files of images with those of their masks, by name with numbers in their order.

    A mask has the name of its image, or that with "_mask", "_label", "_seg", "_gt" or the like behind it; in one folder
    with the images it must have such an ending. Hidden files are passed over.

    Args:
        images: a folder.
        masks: a folder, which may be the same.
        kinds: formats of the files.

    Raises:
        UserError: a folder is missing or empty, two images have one name, or an image or a mask is without the other.
    """
    image_items = _items(images, kinds, "images")
    if masks.resolve() == images.resolve():
        mask_items = [each for each in image_items if _stem(each).endswith(OUTPUTS_OF_LABELS)]
        image_items = [each for each in image_items if each not in mask_items]
        for items, what in ((image_items, "images"), (mask_items, "masks")):
            if not items:
                raise UserError(f"{images}: holds no {what}; in one folder masks end in _mask, _label, _seg or _gt.")
    else:
        mask_items = _items(masks, kinds, "masks")
    names = Counter(map(_stem, image_items))
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise UserError(f"{images}: holds {names[twice]} images of the name {twice}; keep one of them.")
    found, strays = pair(image_items, mask_items)
    if missing := [image for image, mask in zip(image_items, found, strict=True) if mask is None]:
        raise UserError(
            f"{images}: {len(missing)} of {len(image_items)} images have no mask in {masks}, the first is "
            f"{missing[0].name}; a mask has the image's name, or that with _mask, _label, _seg or _gt behind it."
        )
    if strays:
        raise UserError(
            f"{masks}: {len(strays)} of {len(mask_items)} masks belong to no image in {images}, or to one that has "
            f"another; the first is {strays[0].name}. Move them away, or add their images."
        )
    return [(image.path, mask.path) for image, mask in zip(image_items, found, strict=True)]


def stem_of(path: Path) -> str:
    """Return a file's name without its suffix, .nii.gz being one."""
    return split_name(path)[0]


def _items(folder: Path, kinds: tuple[Kind, ...], what: str) -> list[Item]:
    if not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; give the folder that holds the {what}.")
    suffixes = input_suffixes(kinds)
    files = [
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and _suffix(path, suffixes) is not None
    ]
    if not files:
        raise UserError(f"{folder}: holds no {what}; expected files such as *{', *'.join(sorted(suffixes))}.")
    files.sort(key=lambda path: (natural_order(path.name), path.name))
    return [Item(path, path.name) for path in files]


def _suffix(path: Path, suffixes: set[str]) -> str | None:
    return next((each for each in (suffix_of(path), path.suffix.lower()) if each in suffixes), None)


def _stem(item: Item) -> str:
    return stem_of(item.path)
