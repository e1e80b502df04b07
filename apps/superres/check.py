"""Check images before training."""

from pathlib import Path


def check(input: Path) -> int:
    """Decode every image of a folder; tell which cannot be used, and what the others have in common.

    Args:
        input: Folder of images, or one image.

    Returns:
        The exit code: 2 where a file cannot be used.

    Example:
        lightning run apps/superres check --input photographs
    """
    from ...data.checks import check_images
    from ...data.datasets.image_folder import image_files

    report = check_images([input] if input.is_file() else image_files(input))
    print("\n".join(report.lines()))
    return 2 if report.problems else 0
