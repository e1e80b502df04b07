"""What `--help` and `foveal list` show of apps, commands, configs and weights. Imports nothing heavy."""

from .catalogue import apps, cards, commands, configs, networks
from .weights.card import Card

TRAINING = {
    "fit": "train a network, or go on with a training",
    "validate": "measure a checkpoint on the validation data",
    "test": "measure a checkpoint on the test data",
    "predict": "run a checkpoint over the prediction data of a config",
}
FUNCTIONS = {
    "infer": "run weights on files or folders; same formats out as in",
    "export": "write weights as TorchScript, pt2, AOTInductor or ONNX",
    "check": "validate and fingerprint data before training",
    "init": "look at a folder of your data, and write a config that trains on it",
}
TOOLS = {
    "infer": "run any weights or exported program on files of any format",
    "check": "validate and fingerprint files of any format",
    "init": "look at a folder of your data, and write a config of an app that trains on it",
    "report": "write what a run did, learnt and found as one page to look at",
    "doctor": "what this machine can do, and what it cannot and why",
    "bench": "measure on this machine what parts of the networks cost",
    "list": "the apps, their networks and the weights that come with them",
}
BENCHMARKS = {"attention": "time, memory and growth of token mixers, side by side"}


def help_of_foveal() -> str:
    """Return the help of the whole program."""
    return _text(
        "usage: foveal <app> <command> [options]",
        "Attention-based imaging for people who must trust what comes out.",
        _table("apps", apps()),
        _table("commands of every app", TRAINING | FUNCTIONS),
        _table("commands beside the apps", TOOLS),
        _table(
            "options", {"-h, --help": "show this, or the help of an app or a command", "--version": "show the version"}
        ),
        "The same, spelled otherwise: `lightning run apps/<app> ...`, `python -m foveal.apps.<app> ...`.",
        "example:\n  foveal superres infer --input photo.jpg --output larger.png",
    )


def help_of_bench() -> str:
    """Return the help of the measurements."""
    return _text(
        "usage: foveal bench <what> [options]",
        f"{TOOLS['bench'].capitalize()}.",
        _table("what to measure", BENCHMARKS),
        "`foveal bench <what> --help` lists the options.",
    )


def help_of_init() -> str:
    """Return the help of `init` without an app."""
    return _text(
        "usage: foveal init <app> FOLDER [options]",
        f"{TOOLS['init'].capitalize()}.",
        _table("apps", apps()),
        "`foveal init <app> --help` lists the options, and what each app looks for.",
        "example:\n  foveal init polyp frames",
    )


def help_of_app(app: str, program: str) -> str:
    """Return the help of an app; `program` is what was typed before the command."""
    return _text(
        f"usage: {program} <command> [options]",
        f"{apps()[app]}.",
        _table("commands", commands(app) | TRAINING | FUNCTIONS),
        _table("networks", networks(app)),
        _table("weights", _weights(app)),
        f"`{program} <command> --help` lists the options of a command.",
    )


def help_of_training(app: str, command: str, program: str) -> str:
    """Return the help of fit, validate, test or predict: the options that matter, the configs, an example."""
    shipped = {name: _first_comment(name) for name in configs() if name.startswith(f"configs/{app}/")}
    overlays = {name: _first_comment(name) for name in configs() if name.startswith("configs/trainer/")}
    example = next((name for name in shipped if "quickstart" in name), next(iter(shipped), "my.yaml"))
    fits = command == "fit"
    start = "go on from last, best or a file" if fits else "what to measure or run: last, best or a file"
    checkpoint = "" if fits else " --ckpt_path best"
    return _text(
        f"usage: {program} {command} --config FILE [--config FILE ...] [options]",
        f"{TRAINING[command].capitalize()}.",
        _table(
            "files",
            {
                "-c, --config FILE": "what to run and on what; of several, later ones win key by key",
                "--output FOLDER": f"the run folder (default: runs/{app}/<config>, then runs/{app}/<config>-2 ...)",
                "--ckpt_path CHECKPOINT": start,
            },
        ),
        _table(
            "settings",
            {
                "--seed_everything N": "the seed of every random draw (default: 0)",
                "--trainer.NAME VALUE": "how to run: max_epochs, max_steps, devices, precision, strategy, logger, ...",
                "--model.NAME VALUE": "any argument of the task, and --model.net.NAME of its network",
                "--data.NAME VALUE": "any argument of the data",
                "--print_config": "show the merged config and stop",
                "-h, --help [all]": "show this help, or every option of the trainer",
            },
        ),
        _table("configs that come with the package", shipped),
        _table("overlays for the trainer", overlays),
        f"example:\n  {program} {command} --config {example}{checkpoint}",
    )


def listing() -> str:
    """Return the apps, their networks and their weights."""
    tables = [_table("apps", apps())]
    for app in apps():
        tables += [_table(f"networks of {app}", networks(app)), _table(f"weights of {app}", _weights(app))]
    return _text(*tables)


def _text(*paragraphs: str) -> str:
    return "\n\n".join(filter(None, paragraphs))


def _table(title: str, rows: dict[str, str]) -> str:
    width = max(map(len, rows), default=0)
    return "\n".join([f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in rows.items())]) if rows else ""


def _weights(app: str) -> dict[str, str]:
    return {card.name: _facts(card) for card in cards() if card.app == app}


def _facts(card: Card) -> str:
    """Say in one line what weights are for: enlargement, dates, channels, licence and measured quality."""
    measured = [f"{name} {value:g}" for name, value in card.metrics.items() if isinstance(value, float)]
    dates = [f"{card.dates} dates"] if card.dates > 1 else []
    return ", ".join(
        [f"x{card.scale}", *dates, " ".join(card.channels), card.licence or "no licence stated", *measured]
    )


def _first_comment(config: str) -> str:
    """Return the comment on the first line of a config, which says what it is for."""
    line = configs()[config].read_text(encoding="utf-8").partition("\n")[0]
    return line.removeprefix("#").strip() if line.startswith("#") else ""
