"""The documentation as a site."""

import re
import subprocess
import sys

import pytest

from foveal.core.catalogue import apps
from foveal.tests.docs.pages import ROOT

LOADED = re.compile(r"<(?:link[^>]+rel=.?stylesheet[^>]+href|script[^>]+src|img[^>]+src)=\"?([^\" >]+)")
SECTIONS = ["What it is for", "Three commands", "Your data", "Options", "Numbers", "Limits and intended use"]


@pytest.mark.parametrize("app", apps())
def test_every_app_has_a_page_with_the_same_sections_and_a_picture(app):
    text = (ROOT / "docs" / "apps" / f"{app}.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    pictures = re.findall(r"!\[[^]]+\]\(\.\./(pictures/[^)]+)\)", text.partition("## Three commands")[0])
    assert len(pictures) == 1
    assert (ROOT / "docs" / pictures[0]).stat().st_size < 200_000


def test_readme_leads_to_every_app():
    text = (ROOT / "README.md").read_text()
    assert all(f"](docs/apps/{app}.md)" in text for app in apps())
    assert not [link for link in re.findall(r"\]\(([^)#]+)", text) if not (ROOT / link).exists()]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as strictly as can be."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not included in the" not in done.stderr, done.stderr  # a page that the navigation leaves out
    return folder


@pytest.mark.slow
def test_site_holds_every_page_and_fetches_nothing(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert all((site / page).is_file() for page in pages)
    for page in site.rglob("*.html"):
        loaded = LOADED.findall(page.read_text())
        assert loaded
        assert not [each for each in loaded if each.startswith(("http", "//"))]


@pytest.mark.slow
def test_site_describes_the_public_interface(site):
    text = (site / "python.html").read_text()
    named = ("load_model", "predict", "load_reference", "Engine", "Card", "window_attention", "use_backend")
    blocks = ("HiLoAttention", "WindowAttention", "NeighborhoodAttention")
    assert all(re.search(rf'id="foveal\.[\w.]*\b{name}"', text) for name in (*named, *blocks))
