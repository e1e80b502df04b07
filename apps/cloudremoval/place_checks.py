"""What makes dated images of a place unfit for cloud removal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise

from ...core.errors import UserError
from ...core.messages import counted
from ...data.checks import Finding, Report, times
from ...data.datasets.scene_series import CHANNELS
from ...data.fingerprint import spacing_of
from ...data.io.geotiff import GeoTiffSource
from ...data.io.geotiff.raster import Raster
from .beside import names_of
from .cloudy_series import CloudySeries
from .places import Place, Reading, open_source
from .selection import choose_dates

MOST_LISTED = 6
"""Places of which every date is listed; of more there is a line for each."""


def check_places(report: Report, places: Sequence[Place], reading: Reading, wanted: int, most_cloud: float) -> None:
    """Add to a report what is known of places, and what is wrong with them and their dates.

    Findings of files that are no dates, such as masks, are taken out.

    Args:
        report: of all rasters.
        places: in the same folder.
        reading: how their files are read.
        wanted: dates that a network takes at once.
        most_cloud: the share of cloud that one date at least must not exceed.
    """
    folders = [place.images.resolve() for place in places]
    of_folder = {folder: [] for folder in folders}
    for finding in report.findings:
        of_folder.get(finding.item.path.parent.resolve(), []).append(finding)
    masks = {place.masks.resolve() for place in places if place.masks}
    others = {each.item.path.parent.resolve() for each in report.findings} - {*folders} - masks
    report.ignored += sorted(each.item.name for each in report.findings if each.item.path.parent.resolve() in others)
    report.findings = [finding for findings in of_folder.values() for finding in findings]
    summaries = {}
    for place, folder in zip(places, folders, strict=True):
        try:
            about, every = _about(place, of_folder[folder], reading, wanted, most_cloud)
        except UserError as error:
            report.problems.append(f"{place.name}: {error}")
            continue
        summaries[place.name] = about
        if len(places) <= MOST_LISTED:
            report.more[f"dates of {place.name}"] = every
    if len(places) <= MOST_LISTED:
        report.more = {f"place {name}": about for name, about in summaries.items()} | report.more
    else:
        report.more["places"] = {name: _line(about) for name, about in summaries.items()}


def _about(
    place: Place, findings: list[Finding], reading: Reading, wanted: int, most_cloud: float
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is known of a place, and of each of its dates.

    Raises:
        UserError: the place cannot be used.
    """
    _look_at_files(findings, reading)
    usable = [each for each in findings if not each.errors]
    if len(usable) < wanted:
        raise UserError(f"{counted(len(usable), 'usable date')}, too few: {wanted} are taken at once")
    with ExitStack() as stack:
        source = stack.enter_context(open_source([each.item.path for each in usable], "reflectance", CHANNELS, reading))
        series = stack.enter_context(CloudySeries(source, place.masks, reading.warp))
        _tell_same_days(findings, series)
        cover = series.cover
        choose_dates(cover, wanted, most_cloud, series.dates)
        listed = zip(names_of(series), cover, source.rasters, strict=True)
        every = {name: f"{share:.0%} cloud, {raster.path.name}" for name, share, raster in listed}
        return _summary(series, cover), every


def _look_at_files(findings: Sequence[Finding], reading: Reading) -> None:
    """Add why dates cannot be used: by themselves, or beside the first of them that can."""
    first: Raster | None = None
    for finding in findings:
        if finding.errors:
            continue
        try:
            with open_source([finding.item.path], "reflectance", CHANNELS, reading) as source:
                raster = source.first
        except UserError as error:
            finding.errors.append(str(error).removeprefix(f"{finding.item.path}: "))
            continue
        first = first or raster
        if raster.dtype != first.dtype:
            finding.errors.append(f"{raster.dtype}, while {first.path.name} is {first.dtype}; convert one of them")
        difference = first.geometry.difference(raster.geometry)
        if difference and not reading.warp:
            finding.errors.append(f"another grid than {first.path.name}: {difference}; give --warp, or resample it")


def _tell_same_days(findings: Sequence[Finding], series: CloudySeries) -> None:
    by_path = {finding.item.path: finding for finding in findings}
    if not series.dates:
        for finding in findings:
            finding.warnings.append("no date in its name or tags, or in those of another file of the place")
    seen: dict[object, str] = {}
    for date, path in zip(series.dates, series.files, strict=False):
        name = seen.setdefault(date.date(), path.name)
        if name != path.name:
            by_path[path].warnings.append(f"of the same day as {name}")


def _summary(series: CloudySeries, cover: Sequence[float]) -> dict[str, str]:
    source, ordered = series.source, sorted(cover)
    first = source.first
    return {
        "dates": _dates(series.dates, len(cover)),
        "cloud": f"{ordered[0]:.0%} to {ordered[-1]:.0%}, median {ordered[len(ordered) // 2]:.0%}; "
        f"{series.never_clear:.1%} of the place is clear on no date",
        "clouds from": "masks" if series.masks else "colours",
        "grid": _grid(source),
        "bands": ", ".join(
            f"{channel} from {name or 'band ' + str(number)}"
            for channel, name, number in zip(CHANNELS, first.names, first.bands, strict=True)
        ),
        "reflectance": ", ".join(dict.fromkeys(_formula(each) for each in source.rasters)),
        "no data": "none declared" if first.nodata is None else f"{first.nodata:g}",
    }


def _line(about: dict[str, str]) -> str:
    """Return the dates and the range of the cover of a place."""
    dates, cloud = about["dates"].partition(", longest")[0], about["cloud"].partition(", ")[0]
    return f"{dates}, cloud {cloud}"


def _dates(dates: Sequence[datetime], count: int) -> str:
    if not dates:
        return f"{count}, not known when"
    gap = max(((after - before).days, before, after) for before, after in pairwise(dates)) if count > 1 else None
    text = f"{count}, {dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}"
    return f"{text}, longest gap {gap[0]} days ({gap[1]:%Y-%m-%d} to {gap[2]:%Y-%m-%d})" if gap else text


def _grid(source: GeoTiffSource) -> str:
    spacing, unit, crs = spacing_of(source)
    size = f"{times(source.geometry.shape)} pixels"
    if not spacing:
        return f"{size}, no CRS"
    height, width = spacing
    return f"{size} of {width:.6g} x {height:.6g} {unit}, {crs}"


def _formula(raster: Raster) -> str:
    scale, offset = raster.scales[0], raster.offsets[0]
    if raster.has_scales or scale == 1:
        return f"stored * {scale:g} + {offset:g}"
    return f"(stored {'-' if offset < 0 else '+'} {abs(offset / scale):.6g}) / {1 / scale:.6g}"
