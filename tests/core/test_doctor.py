"""The report on this machine."""

import builtins

import pytest

from foveal.core import doctor as module
from foveal.core.doctor import Finding, doctor, examine


@pytest.fixture(scope="module")
def findings():
    return {(each.topic, each.name): each for each in examine()}


def test_the_formats_that_foveal_promises_are_looked_at(findings):
    names = {name for topic, name in findings if topic == "formats"}
    assert names == {"PNG", "JPEG", "TIFF, GeoTIFF", "DICOM", "NIfTI", "whole slides"}
    assert all(each.usable for each in findings.values() if each.topic == "formats"), findings


def test_every_declared_package_is_reported_with_its_version(findings):
    packages = {name: each for (topic, name), each in findings.items() if topic == "packages"}
    assert packages["torch"].detail[0].isdigit()
    assert {"lightning", "rasterio", "openslide-bin"} <= set(packages)


def test_what_cannot_run_says_why(findings):
    assert all(len(each.detail) > 10 for each in findings.values() if not each.usable)


def test_a_missing_compiler_is_told(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    finding = next(each for each in examine() if each.name == "AOTInductor")
    assert not finding.usable
    assert "no-such-compiler" in finding.detail


def test_a_package_that_does_not_import_is_a_finding(monkeypatch):
    real = builtins.__import__

    def broken(name, *rest):
        if name == "rasterio":
            raise ImportError("libgdal.so.36 is missing")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    finding = next(each for each in examine() if each.name == "PNG")
    assert finding == Finding("formats", "PNG", False, "libgdal.so.36 is missing")


def test_plain_lines_without_a_terminal(capsys, monkeypatch):
    found = [Finding("formats", "PNG", True, "GDAL 3"), Finding("packages", "torch", False, "missing")]
    monkeypatch.setattr(module, "examine", lambda: found)
    assert doctor() == 1
    assert capsys.readouterr().out == "formats:\n  ok  PNG    GDAL 3\npackages:\n  no  torch  missing\n"


def test_a_table_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(module, "examine", lambda: [Finding("packages", "torch", True, "2.10")])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert doctor() == 0
    assert "✓" in capsys.readouterr().out
