"""The report in a browser: no errors, and everything that moves does so by mouse and by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from foveal.core.report.command import report
from foveal.tests.fixtures.run_folder import made_run

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

CONTRASTS = """() => {
  const light = (colour) => {
    const parts = colour.match(/[0-9.]+/g).slice(0, 3).map((each) => each / 255)
      .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = (each) => {
    while (getComputedStyle(each).backgroundColor === "rgba(0, 0, 0, 0)") each = each.parentElement;
    return light(getComputedStyle(each).backgroundColor);
  };
  const words = "h1, h2, h3, p, dt, dd, th, td, button, .badge, .quiet, figcaption, summary, code";
  return [...document.querySelectorAll(words)].map((each) => {
    const [dark, bright] = [light(getComputedStyle(each).color), ground(each)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  });
}"""
"""The contrast of every text with its ground, as WCAG 2 defines it; AA asks for 4.5."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = made_run(tmp_path_factory.mktemp("runs") / "light", ("slider", "overlay", "classes", "columns"), 64, 40)
    for stage, kind in (("val", "slider"), ("test", "overlay")):
        shutil.rmtree(folder / f"showcase_{stage}")
        other = made_run(folder.parent / kind, (kind,), 64, 40)
        shutil.copytree(other / f"showcase_{stage}", folder / f"showcase_{stage}")
    report(folder)
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def viewers(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = made_run(tmp_path_factory.mktemp("runs") / "viewers", ("volume",), 64)
    shutil.rmtree(folder / "showcase_test")
    shutil.copytree(made_run(folder.parent / "wsi", ("heatmap",), 64) / "showcase_test", folder / "showcase_test")
    report(folder)
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened(browser, address) as page:
        yield page


@pytest.fixture
def viewer(browser: Browser, viewers: str) -> Iterator[Page]:
    with opened(browser, viewers) as page:
        page.locator(".volume-here:not(:empty)").nth(2).wait_for()  # of the last of three volumes
        yield page


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else problems.append(request.url)
    )
    page.goto(address)
    yield page
    assert problems == []
    page.close()


def column(page: Page, place: int) -> list[str]:
    rows = page.locator("table.sortable").first.locator("tbody tr:visible")
    return rows.locator(f"td:nth-child({place})").all_text_contents()


def test_the_slider_moves_by_keyboard_and_by_mouse(page: Page):
    slider = page.locator(".slider").first
    before, handle = slider.locator(".slider-left"), slider.locator("input")
    cut = lambda: before.evaluate("each => getComputedStyle(each).clipPath")  # noqa: E731
    assert cut() == "inset(0px 50% 0px 0px)"
    handle.focus()
    page.keyboard.press("ArrowLeft")
    assert cut() == "inset(0px 51% 0px 0px)"
    assert handle.get_attribute("aria-valuetext") == "49% bicubic, 51% network"
    page.keyboard.press("End")
    assert cut() in ("inset(0px)", "inset(0px 0% 0px 0px)")
    box = handle.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert 70 < float(cut().split()[1].rstrip("%")) < 80
    truth = page.locator(".pictures img").nth(2).get_attribute("src")
    slider.locator("select").nth(1).select_option("truth")
    assert slider.locator(".slider-right").get_attribute("src") == truth


@pytest.mark.parametrize("width", [390, 1280])
def test_the_choices_of_a_slider_are_read_whole(browser: Browser, tmp_path: Path, width: int):
    folder = made_run(tmp_path / "light")
    for path in folder.glob("showcase_*/*/exhibit.json"):
        path.write_text(path.read_text().replace("bicubic", "median of clear dates"))
    report(folder)
    with opened(browser, (folder / "report.html").as_uri()) as page:
        page.set_viewport_size({"width": width, "height": 800})
        widths = page.locator(".slider select").evaluate_all(
            """all => all.map((each) => {
                const shown = each.getBoundingClientRect().width;
                each.style.flex = "none";
                return [each.getBoundingClientRect().width, shown];
            })"""
        )
    assert widths
    assert all(needed <= shown + 0.5 for needed, shown in widths)


def test_layers_are_switched_off_and_on(page: Page):
    overlay = page.locator(".overlay").first
    layer = overlay.locator(".overlay-stage img").nth(1)
    assert layer.is_visible()
    overlay.locator("input").first.focus()
    page.keyboard.press("Space")
    assert not layer.is_visible()


def test_the_table_sorts_by_mouse_and_by_keyboard(page: Page):
    head = page.locator("table.sortable").first.locator("th").nth(2)
    head.locator("button").click()
    rising = [float(each) for each in column(page, 3)]
    assert rising == sorted(rising)
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert [float(each) for each in column(page, 3)] == rising[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    page.locator("table.sortable").first.locator("th button").first.click()
    assert column(page, 1)[:3] == ["case 0", "case 1", "case 2"]
    assert head.get_attribute("aria-sort") is None


def test_the_table_is_filtered_by_set(page: Page):
    page.locator(".set-filter").first.select_option("near")
    assert set(column(page, 2)) == {"near"}
    assert page.locator(".all-cases output").first.text_content() == "20 of 40 cases"


def test_curves_tell_their_values(page: Page):
    curve = page.locator(".curve").first
    curve.locator("svg").hover()
    assert curve.locator("output").text_content().startswith("step ")
    page.keyboard.press("Tab")
    page.mouse.move(0, 0)
    curve.locator("svg").focus()
    page.keyboard.press("Home")
    assert curve.locator("output").text_content() == "step 9: val 20.9, bicubic 21"
    page.keyboard.press("ArrowRight")
    assert curve.locator("output").text_content() == "step 19: val 21.9, bicubic 21"


@pytest.mark.parametrize("width", [360, 768])
def test_the_page_never_scrolls_sideways(page: Page, width: int):
    page.set_viewport_size({"width": width, "height": 700})
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page: Page, scheme: str):
    page.emulate_media(color_scheme=scheme)
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 100
    assert min(ratios) >= 4.5


COLOURS = """each => {
  const copy = new OffscreenCanvas(each.width, each.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(each, 0, 0);
  const { data } = copy.getImageData(0, 0, each.width, each.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4) found += Math.abs(data[at] - data[at + 1]) > 24;
  return found;
}"""
"""How many pixels of a canvas are coloured."""


def slices(page: Page) -> list[str]:
    return page.locator(".volume").first.locator("figure output").all_text_contents()


def test_a_click_moves_all_planes_of_a_volume(viewer: Page):
    volume = viewer.locator(".volume").first
    assert slices(viewer) == ["3 of 10", "4 of 12", "3 of 8"]
    axial = volume.locator("canvas").first
    axial.scroll_into_view_if_needed()
    box = axial.bounding_box()
    assert box["height"] / box["width"] == pytest.approx(12 / 8, rel=0.02)
    axial.click(position={"x": box["width"] * 6.5 / 8, "y": box["height"] * 2.5 / 12})
    assert slices(viewer) == ["3 of 10", "3 of 12", "7 of 8"]
    viewer.keyboard.press("ArrowRight")
    assert slices(viewer) == ["4 of 10", "3 of 12", "7 of 8"]
    viewer.mouse.wheel(0, -100)
    viewer.wait_for_timeout(200)
    assert slices(viewer) == ["3 of 10", "3 of 12", "7 of 8"]
    assert "truth background" in volume.locator(".volume-here").text_content()


def test_maps_and_classes_of_a_volume_are_switched_off(viewer: Page):
    volume = viewer.locator(".volume").first
    coloured = lambda: volume.locator("canvas").first.evaluate(COLOURS)  # noqa: E731
    whole = coloured()
    volume.get_by_label("left").uncheck()
    one = coloured()
    volume.get_by_label("truth").uncheck()
    filled = coloured()
    assert whole > one > filled > 0
    volume.get_by_label("network").uncheck()
    assert coloured() == 0


def test_the_window_of_a_volume_changes_its_grey(viewer: Page):
    volume = viewer.locator(".volume").first
    told, level = volume.locator(".volume-window output"), volume.get_by_label("level")
    before = told.text_content()
    level.focus()
    viewer.keyboard.press("Home")
    assert told.text_content() != before


def test_the_attention_over_a_slide_fades_and_its_tiles_are_found(viewer: Page):
    heatmap = viewer.locator(".heatmap").first
    attention = heatmap.locator(".heatmap-stage img").nth(1)
    heatmap.locator("input[type=range]").focus()
    viewer.keyboard.press("Home")
    assert attention.evaluate("each => getComputedStyle(each).opacity") == "0"
    heatmap.locator(".heatmap-top li").nth(1).focus()
    assert "lit" in heatmap.locator(".heatmap-box").nth(1).get_attribute("class")
    heatmap.get_by_label("most attended tiles").uncheck()
    assert heatmap.locator(".heatmap-box:visible").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_viewers_fit_a_phone_and_are_read_there(viewer: Page, scheme: str):
    viewer.set_viewport_size({"width": 390, "height": 800})
    viewer.emulate_media(color_scheme=scheme)
    assert viewer.evaluate("document.documentElement.scrollWidth") <= 390
    assert min(viewer.evaluate(CONTRASTS)) >= 4.5
