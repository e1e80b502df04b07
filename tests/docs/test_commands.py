"""Every command and every example in Python of README.md and the documentation is run from the text itself."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import timm
import yaml
from PIL import Image

from foveal.core.catalogue import find_config
from foveal.core.cli import lightning_main, main
from foveal.core.messages import config_files
from foveal.tests.docs.inputs import write_inputs
from foveal.tests.docs.pages import PAGES, ROOT, blocks, commands, inline_code
from foveal.tests.fixtures.datasets_2d import merged
from foveal.tests.fixtures.photographs import small_samples

TRAINING = ("fit", "validate", "test", "predict")
COMPILERS = ("g++", "cmake")
ELSEWHERE = ("--trainer.devices", "configs/trainer/gpu.yaml")
"""What needs a machine with GPUs: such trainings are read and checked, not run."""


def train(app: str, words: list[str]) -> int:
    """Run a training as the tests of its config do: one step of a small network on tiny data where it expects data.

    Networks of superres stay as they are: the pages evaluate weights that come along, and bring a network of their own.
    """
    if any(word in ELSEWHERE for word in words):
        return check_config([app, *words], processes_of(words))
    recipe = import_module(f"foveal.tests.configs.recipes.{app}")
    content = merged(str(find_config(config_files(words)[0]).resolve()))
    recipe.write(content)
    small = [option for option in recipe.small(content) if app != "superres" or ".net." not in option]
    return main([app, *words, *small, "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1"])


def check_config(words: list[str], processes: int) -> int:
    """Read a training without running it; its batch must be one that the processes can share."""
    told = StringIO()
    with redirect_stdout(told):
        code = main([*words, "--print_config"])
    batch_size = yaml.safe_load(told.getvalue())["data"]["init_args"]["batch_size"]
    assert batch_size % processes == 0, f"a batch of {batch_size} for {processes} processes: {' '.join(words)}"
    return code


def processes_of(words: list[str]) -> int:
    """Return how many processes a command starts, by the options of its launcher or of the training."""
    told = dict(pairwise(words))
    pairs = (("--nnodes", "--nproc-per-node"), ("--trainer.num_nodes", "--trainer.devices"))
    return max(int(told.get(machines, 1)) * int(told.get(each, 1)) for machines, each in pairs)


def run(words: list[str], program: Callable[[list[str]], int]) -> None:
    """Run a command of Foveal in this process."""
    app, *rest = words[1:] if words[0] == "run" else words
    app = app.removeprefix("apps/")
    if rest and rest[0] in TRAINING:
        code = train(app, rest)
    elif app == "bench":
        code = program([*words, *([] if "--mixers" in words else ["--mixers", "window"]), "--size", "4", "--dim", "8"])
    else:
        code = program(words)
    assert code == 0, f"exit code {code} of {' '.join(words)}"


def check_pip(words: list[str]) -> None:
    """What is installed is this project, with extras that it has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    target = words[-1]
    assert words[0] == "install"
    assert re.match(r"(\.|foveal)(\[|$)", target)
    assert set(re.findall(r"\w+", target.partition("[")[2])) <= set(extras)


def check_pytest(words: list[str]) -> None:
    """Tests that are named are there; those that the page itself shows are run."""
    for name in (word for word in words if "/" in word):
        if Path(name).is_file():
            done = pytest.main(
                [name, "-q", "-c", os.devnull, "--rootdir=.", "--import-mode=importlib", "--capture=no"]
                + [f"-pno:{plugin}" for plugin in ("cacheprovider", "xdist", "timeout")]
            )
            assert done == 0, name
        else:
            assert (ROOT / name.partition("::")[0]).exists(), name


def run_python(words: list[str]) -> None:
    """Run a file of the page; of the project's own scripts, check that they are there and have the options."""
    if words[:2] == ["-m", "pytest"]:
        return check_pytest(words[2:])
    script, *options = words
    if Path(script).is_file():
        done = subprocess.run([sys.executable, script, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        check_script(script, options)
    return None


def check_script(script: str, options: list[str]) -> None:
    """A script of the project is there, and knows the options that it is given."""
    source = (ROOT / script).read_text()
    unknown = [each for each in options if each.startswith("--") and each.partition("=")[0] not in source]
    assert not unknown, f"{script} has no {unknown}"


def check_launched(words: list[str]) -> None:
    """What a launcher of many processes starts is a command that they can run together."""
    if "-m" in words:
        start = words.index("-m") + 1
        inner = [words[start].removeprefix("foveal.apps."), *words[start + 1 :]]
    else:
        start = words.index("run") + 1
        inner = [words[start].removeprefix("apps/"), *words[start + 1 :]]
    assert check_config(inner, processes_of(words)) == 0


def check_mkdocs(words: list[str]) -> None:
    """The site is built by a test of its own."""
    assert words[0] in ("build", "serve")


KINDS: dict[str, Callable[[list[str]], None]] = {
    "foveal": lambda words: run(words, main),
    "lightning": lambda words: run(words, lightning_main),
    "pip": check_pip,
    "pytest": check_pytest,
    "python": run_python,
    "torchrun": check_launched,
    "srun": check_launched,
    "mkdocs": check_mkdocs,
}
"""What is done with the commands of each program; another program fails the test."""


def compiled(text: str, tool: str) -> None:
    """Run a block that compiles C++ as it is written, where there is its tool."""
    if shutil.which(tool):
        Path("larger.ppm").unlink(missing_ok=True)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        subprocess.run(["bash", "-euc", text], check=True, env=os.environ | {"PATH": path})
        assert np.array_equal(np.asarray(Image.open("larger.ppm")), np.asarray(Image.open("larger.png")))


def whole_commands(page: Path) -> list[list[str]]:
    """Return the commands in the running text of a page that name all that they work on, no PLACE to be filled in."""
    codes = [shlex.split(code) for code in inline_code(page) if code.split()[0] in ("foveal", "lightning")]
    whole = [words for words in codes if len(words) > 2 or words[-1] in ("list", "doctor")]
    return [words for words in whole if not any(re.search(r"<|\[|^[A-Z]+$|^--help$", word) for word in words)]


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """An empty working directory with a cache of its own, small photographs, and no network behind timm."""
    monkeypatch.chdir(tmp_path)
    small_samples(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *names, **options: make(*names, **options | {"pretrained": False}))


def write_files(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files that a page shows; modules under `apps` become part of the package."""
    for block in (each for each in blocks(page) if each.title):
        path = Path(block.title)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        if path.parts[0] == "apps":
            package = import_module(".".join(("foveal", *path.parts[:-1])))
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(path.parent.resolve())])


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_runs_as_it_is_written(page, inside, monkeypatch):
    found = blocks(page)
    write_inputs("\n".join([*(each.text for each in found), *inline_code(page)]))
    write_files(page, monkeypatch)
    for block in found:
        tool = next((each for each in COMPILERS if re.search(rf"^{re.escape(each)} ", block.text, re.MULTILINE)), None)
        if block.language == "bash" and tool:
            compiled(block.text, tool)
        elif block.language == "bash":
            for program, *words in commands(block.text):
                KINDS[program](words)
        elif block.language == "python" and not block.title:
            exec(compile(block.text, str(page), "exec"), {"__name__": "__main__"})
    for program, *words in whole_commands(page):
        KINDS[program](words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_script_and_config_in_the_text_is_there(page):
    for code in inline_code(page):
        for script, rest in re.findall(r"python ((?:benchmarks|tests)/\S+\.py)(.*)", code):
            check_script(script, rest.split())
        for config in re.findall(r"configs/\w+/\w+\.yaml", code):
            assert (ROOT / config).is_file(), config


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_are_spelled_as_the_help_prints_them(page):
    lines = [line for block in blocks(page) if block.language == "bash" for line in commands(block.text)]
    ours = [word for program, *words in lines if program in ("foveal", "lightning") for word in words]
    told = [word for code in inline_code(page) for word in code.split()]
    assert not [word for word in ours + told if re.match(r"--\w+-", word)]


@pytest.mark.parametrize(
    "options",
    [
        "--nnodes 2 --nproc-per-node 8 -m foveal.apps.superres fit --config configs/superres/demo_x2.yaml",
        "run superres fit --config configs/superres/demo_x2.yaml --trainer.num_nodes 2 --trainer.devices 8",
    ],
)
def test_a_batch_of_8_is_none_of_16_processes(options, inside):
    check_launched([*options.split(), "--data.batch_size", "16"])
    with pytest.raises(AssertionError, match="a batch of 8 for 16 processes"):
        check_launched(options.split())
