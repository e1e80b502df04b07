"""Which raster files show one place on many dates, and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from ....core.errors import UserError
from ..formats import TIFF_SUFFIXES as SUFFIXES

DATE_TAGS = ("ACQUISITIONDATETIME", "ACQUISITION_DATE", "DATE_ACQUIRED", "SENSING_TIME", "PRODUCT_START_TIME")
WRITTEN = "TIFFTAG_DATETIME"
"""Often when the file was made, so that it counts only where nothing else tells a date."""

DAY = r"(?P<year>19\d\d|20\d\d)(?P<gap>[-_.:]?)(?P<month>0[1-9]|1[0-2])(?P=gap)(?P<day>0[1-9]|[12]\d|3[01])"
TIME = r"(?:[T_ ]?(?P<hour>[01]\d|2[0-3]):?(?P<minute>[0-5]\d):?(?P<second>[0-5]\d)(?!\d))?"
DATE = re.compile(rf"(?<!\d){DAY}{TIME}(?!\d)")
DAY_OF_YEAR = re.compile(r"(?<![A-Za-z0-9])A(?P<year>19\d\d|20\d\d)(?P<day>[0-3]\d\d)(?!\d)")  # MODIS: A2018041


def raster_files(paths: str | Path | Sequence[str | Path]) -> tuple[list[Path], bool]:
    """Return the files that are meant, and whether they are many dates of one place.

    Args:
        paths: a file; or a folder, of which every TIFF counts, or a list of files.

    Raises:
        UserError: there is no such file, or the folder or the list is empty.
    """
    if isinstance(paths, (str, Path)):
        path = Path(paths)
        if not path.is_dir():
            return [_existing(path)], False
        files = rasters_in(path)
        if not files:
            raise UserError(f"{path}: the folder holds no file that ends in {' or '.join(SUFFIXES)}.")
        return files, True
    files = sorted(_existing(Path(each)) for each in paths)
    if not files:
        raise UserError("a list of rasters is empty; give at least one file.")
    return files, True


def rasters_in(folder: Path) -> list[Path]:
    """Return the TIFF files of a folder by name but for hidden ones; [] where there is no such folder."""
    if not folder.is_dir():
        return []
    files = (each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())
    return sorted(each for each in files if not each.name.startswith("."))


def in_order(files: Sequence[Path], tags: Sequence[dict[str, str]]) -> tuple[list[int], tuple[datetime, ...]]:
    """Return the order of files by date, and the dates in that order; by name and without dates where one has none.

    All dates come from one place: tags about the acquisition, else names, of the files or of their folders, else the
    tag about when a file was written.

    Args:
        files: the files.
        tags: those of each file.
    """
    has_folders = len({file.parent for file in files}) > 1
    names: list[Callable[[int], str]] = [
        lambda index: next((tags[index][name] for name in DATE_TAGS if name in tags[index]), ""),
        lambda index: files[index].stem,
        lambda index: files[index].parent.name if has_folders else "",
        lambda index: tags[index].get(WRITTEN, ""),
    ]
    for name in names:
        dates = [find_date(name(index)) for index in range(len(files))]
        if None not in dates:
            order = sorted(range(len(files)), key=lambda index: (dates[index], files[index].name))
            return order, tuple(dates[index] for index in order)
    return sorted(range(len(files)), key=lambda index: (files[index].name, files[index])), ()


def find_date(text: str) -> datetime | None:
    """Return the first date in a text such as "S2A_20180210T101141", "2018-02-10" or "A2018041"; None without one."""
    for match in DATE.finditer(text):
        found = match.groupdict()
        parts = [int(found[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")]
        try:
            return datetime(*parts)
        except ValueError:
            continue  # such as the 31st of February
    match = DAY_OF_YEAR.search(text)
    if match and 1 <= int(match["day"]) <= 366:
        return datetime(int(match["year"]), 1, 1) + timedelta(days=int(match["day"]) - 1)
    return None


def _existing(path: Path) -> Path:
    if path.is_dir():
        raise UserError(f"{path}: is a folder; a list names files only.")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    return path
