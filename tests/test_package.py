"""The package as a whole: its parts, what they may import, what is installed."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

import foveal

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("apps", "configs", "core", "data", "kernels")
SHIPPED = sorted(
    [ROOT / "__init__.py"]
    + [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yaml", ".safetensors", ".j2", ".css", ".js")
    ]
)
HEAVY = {"albumentations", "lightning", "matplotlib", "monai", "numpy", "rasterio", "rich", "torch", "torchvision"}


def run_python(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment).stdout


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_imports_keep_their_direction():
    # In a process of its own, as it switches off the loggers of whoever calls it.
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    lint = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_every_dependency_but_torch_and_triton_is_forbidden_to_kernels_attention_and_blocks():
    contract = next(each for each in PROJECT["tool"]["importlinter"]["contracts"] if "torch alone" in each["name"])
    of_import = packages_distributions()
    forbidden = {normal(name) for each in contract["forbidden_modules"] for name in of_import[each]}
    declared = {normal(re.match(r"[\w.-]+", each)[0]) for each in PROJECT["project"]["dependencies"]}
    assert declared - forbidden == {"torch", "triton", "openslide-bin"}


def test_every_import_is_a_declared_dependency():
    of_import = packages_distributions()
    declared = {normal(re.match(r"[\w.-]+", each)[0]) for each in requires("foveal")}
    undeclared = []
    for path in SHIPPED:
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            for name in {each.partition(".")[0] for each in names} - sys.stdlib_module_names - {"foveal"}:
                if not {normal(each) for each in of_import.get(name, [])} & declared:
                    undeclared.append(f"{path.relative_to(ROOT)}: {name}")
    assert not undeclared


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]])
def test_ruff_is_content(arguments):
    command = [sys.executable, "-m", "ruff", *arguments, "--output-format=concise", "--no-cache", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_folder_is_a_listed_package():
    with_modules = {path.parent for path in SHIPPED if path.suffix in (".py", ".yaml")}
    found = {".".join(("foveal", *folder.relative_to(ROOT).parts)) for folder in with_modules}
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(found)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy and without fetching anything."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=lambda place, names: set(names) - kept(Path(place), names))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_module_config_and_weights_file(wheel):
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {f"foveal/{path.relative_to(ROOT).as_posix()}" for path in SHIPPED}
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_the_unpacked_wheel_finds_its_own_parts(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = "from foveal.core.catalogue import ROOT, apps, configs; print(ROOT, *apps(), *configs())"
    out = run_python(code, PYTHONPATH=str(tmp_path))
    apps = "cloudremoval medseg polyp superres udc volseg wsi"
    assert out.startswith(f"{tmp_path / 'foveal'} {apps} configs/cloudremoval/")
    assert "configs/superres/quickstart_dlgsanet.yaml" in out


def kept(folder: Path, names: list[str]) -> set[str]:
    """What the wheel is built from: without runs, data sets and caches that lie in a checkout."""
    if folder == ROOT:
        return {*FOLDERS, "__init__.py", "pyproject.toml", "README.md", "LICENSE"}
    return set(names) - {"__pycache__"}


def test_importing_foveal_imports_nothing_heavy():
    assert run_python(f"import foveal, sys; print({HEAVY!r} & set(sys.modules))") == "set()\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["superres", "--help"],
        ["superres", "fit", "--help"],
        ["superres", "fit", "--config", "configs/superres/quikstart.yaml"],
        ["superres", "infer", "--help"],
        ["superres", "export", "--help"],
        ["superres", "check", "--help"],
        ["superres", "infre"],
        ["superres", "infer", "--inptu", "photo.png"],
    ],
)
def test_help_and_mistakes_import_nothing_heavy(arguments):
    code = (
        "import atexit, sys\n"
        "from foveal.core.cli import main\n"
        f"atexit.register(lambda: print('heavy:', {HEAVY!r} & set(sys.modules)))\n"
        f"main({arguments!r})"
    )
    assert run_python(code).endswith("heavy: set()\n")


def test_a_network_is_loaded_without_a_compiler_and_lightning():
    loaded = "import foveal, sys; foveal.load_model('dlgsanet-tiny-x4')"
    assert run_python(f"{loaded}; print({{'lightning', 'torch._dynamo'}} & set(sys.modules))") == "set()\n"


def test_the_public_names_load_on_first_use():
    assert all(hasattr(foveal, name) and name in dir(foveal) for name in foveal.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'predicted'"):
        _ = foveal.predicted


@pytest.mark.parametrize("script", ["foveal", "lightning"])
def test_console_scripts_point_at_functions(script):
    module, _, function = PROJECT["project"]["scripts"][script].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
