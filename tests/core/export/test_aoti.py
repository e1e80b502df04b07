"""Which compiler machine code is made by."""

import pytest

from foveal.core.export.aoti import find_compiler


@pytest.mark.parametrize(("platform", "name"), [("linux", "g++"), ("darwin", "clang++")])
def test_without_a_name_the_compiler_is_that_of_the_system(monkeypatch, platform, name):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("shutil.which", lambda command: f"/bin/{command}")
    assert find_compiler() == (name, f"/bin/{name}")


@pytest.mark.parametrize(("name", "path"), [("ccache g++", "/bin/ccache"), ("nothing", None), ("", None)])
def test_a_compiler_may_be_named(monkeypatch, name, path):
    monkeypatch.setenv("CXX", name)
    monkeypatch.setattr("shutil.which", {"ccache": "/bin/ccache"}.get)
    assert find_compiler() == (name, path)
