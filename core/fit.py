"""fit, validate, test and predict: LightningCLI with run folders, safe checkpoints and calm output."""

from __future__ import annotations

import logging
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Hashable
from contextlib import ExitStack
from inspect import signature
from pathlib import Path
from signal import SIGTERM
from typing import Any

from jsonargparse import Namespace
from jsonargparse.typing import register_type
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from . import callbacks as own
from .catalogue import with_bases
from .checkpoint import BEST, LAST, BestCheckpoint, LastCheckpoint, SafeCheckpointIO
from .errors import UserError
from .layers import with_whole_lists
from .messages import counted, explain
from .metrics_table import MetricsTable
from .report.command import report_anyway
from .run import RUNS, command_line, create_folder, find_place, manifest, remove_unbegun
from .task import Task

CALM = (
    "The '.*_dataloader' does not have many workers",
    "Checkpoint directory .* exists and is not empty",
    "The number of training batches .* is smaller than the logging interval",
    "You're using the WeightAveraging callback, but loading a checkpoint outside",
    "It is recommended to use `self.log\\(.*sync_dist=True",  # the task gathers its cases itself
    "`ModelCheckpoint\\(monitor=.*could not find the monitored key",  # `after_fit` tells it
    "This DataLoader will create .* worker processes",  # twice, and a config means the same on any machine
    "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided",
    "Found .* module\\(s\\) in eval mode at the start of training",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "\\s*Dump of a value that does not round-trip",  # defaults of transforms that are tuples
)
"""Warnings of Lightning that tell a user nothing to act on."""


def _as_it_is(value: Any) -> Any:
    return value


register_type(Hashable, _as_it_is, _as_it_is, ())  # the type of MONAI's keys, which a run's config would not hold else


def main(app: str, command: str, arguments: list[str]) -> int:
    """Run fit, validate, test or predict of an app.

    Args:
        app: name of the app, for the help and for run folders.
        command: "fit", "validate", "test" or "predict".
        arguments: the options after the command.

    Returns:
        The exit code, 0.

    Raises:
        UserError: an option, a config file or a checkpoint is wrong.
    """
    calm()
    try:
        cli = TrainingCLI(app, command, arguments)
    except MisconfigurationException as error:  # how Lightning tells that options contradict one another
        raise UserError(one_line(error)) from error
    if cli.trainer.is_global_zero:
        if command in ("validate", "test"):
            print(cli.model.results())
        if command != "predict":
            report_anyway(cli.folder)
    return 0


class TrainingCLI(LightningCLI):
    """LightningCLI for one command of one app: any `Task`, any data module, and a run folder.

    Args:
        app: name of the app.
        command: the Trainer's method to run.
        arguments: the options after the command.
    """

    def __init__(self, app: str, command: str, arguments: list[str]) -> None:
        self.app = app
        self.command = command
        self.arguments = arguments
        strict = {"exit_on_error": False, "allow_abbrev": False, "prog": f"foveal {app}"}
        with ExitStack() as self.undo:
            super().__init__(
                Task,
                LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                seed_everything_default=0,
                trainer_defaults={"use_distributed_sampler": False, "enable_model_summary": False},
                save_config_callback=None,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_kwargs={**strict, command: strict},
                args=[command, *arguments],
            )

    def subcommands(self) -> dict[str, set[str]]:
        """Offer the one command; models, data and how to read a checkpoint are not the Trainer's options."""
        offered = {"ckpt_path"}
        return {self.command: set(signature(getattr(Trainer, self.command)).parameters) - {"self"} - offered}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our own options."""
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="Run folder. (default: runs/<app>/<config>, then runs/<app>/<config>-2 ...)",
        )
        parser.add_argument(
            "--base", type=str | None, default=None, help="In a config: the config beside it that this one builds on."
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """Parse, and tell a mistake in one line."""
        self.words = with_whole_lists(with_bases(args))
        try:
            self.config = parser.parse_args(self.words)
        except ArgumentError as error:
            raise UserError(explain(error, parser, self.words)) from None

    def _parse_ckpt_path(self) -> None:
        """Leave the config as it was given: what a checkpoint was trained with does not override it."""

    def before_instantiate_classes(self) -> None:
        """Find the checkpoint and the run folder."""
        config = self.config[self.command]
        output = Path(config.output) if config.output else None
        self.place = find_place(self.app, self.command, self.arguments, output, config.ckpt_path)
        config.ckpt_path = self.place.checkpoint and str(self.place.checkpoint)

    def instantiate_classes(self) -> None:
        """Build everything; what a constructor refuses is told in one line."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if error.__cause__ is None:
                raise
            raise UserError(str(origin(error))) from error  # jsonargparse wraps the error in its reading of the types

    def after_instantiate_classes(self) -> None:
        """Tell the task how its network was built, for the card."""
        net = self._get(self.config, "model").init_args.get("net")
        if net is not None:
            self.model.network = {
                "class_path": net.class_path,
                "init_args": net.get("init_args", Namespace()).as_dict(),
            }

    def merged_config(self) -> str:
        """The config of all layers and options as YAML, without what names this one session."""
        config = self.config[self.command].clone()
        for name in ("ckpt_path", "output", "base"):
            config.pop(name)
        return self._parser(self.command).dump(config, skip_unset=False)

    def instantiate_trainer(self, **_: Any) -> Trainer:
        """Build the Trainer with our loggers, callbacks and checkpoint files around what the config asks for."""
        options = dict(self._get(self.config_init, "trainer"))
        self.folder = self._run_folder()
        seed = self._get(self.config, "seed_everything")
        training = self.command == "fit"
        suffix = "" if training else f"_{self.command}"
        table = MetricsTable(self.folder, f"metrics{suffix}.csv")
        callbacks = as_list(options["callbacks"])
        record = own.RunRecord(self.folder, self.merged_config(), manifest(command_line(), seed=seed), table, suffix)
        around: list[Callback] = [record, own.Samples(self.folder), own.Predictions()]
        if training:
            around += [own.Curves(self.folder, table), *([] if seed is False else [own.EpochSeed(seed)])]
        if options["enable_progress_bar"] is not False and not any(isinstance(each, ProgressBar) for each in callbacks):
            around.append(own.progress_bar())
        saving = training and options["enable_checkpointing"] is not False
        last = [LastCheckpoint(self.folder)] if saving else []
        best = [BestCheckpoint(self.folder, self.model.monitor, self.model.monitor_mode)] if saving else []
        loggers = as_list(options["logger"])
        if training and not loggers and options["logger"] is not False:
            loggers = [TensorBoardLogger(self.folder, "tensorboard", "")]
        ours = {
            "default_root_dir": self.folder,
            "logger": [table, *loggers],
            "plugins": [SafeCheckpointIO(self.model), *as_list(options["plugins"])],
            "callbacks": [*last, *around, *callbacks, *best],
        }
        try:
            return Trainer(**options | ours)
        except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:  # all of it is from options
            raise UserError(f"trainer: {one_line(error)}") from error

    def _run_folder(self) -> Path:
        """Return the run folder; the first process takes a new one away again if nothing begins in it."""
        folder = self.place.folder
        if rank_zero_only.rank:
            return folder or RUNS / self.place.name
        if folder is None:
            folder = create_folder(self.place.name)
        elif folder.exists():
            return folder
        self.undo.callback(remove_unbegun, folder)
        return folder

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Leave the printing of results to us; keep no predictions in memory."""
        quiet = {"predict": {"return_predictions": False}, "validate": {"verbose": False}, "test": {"verbose": False}}
        return super()._prepare_subcommand_kwargs(subcommand) | quiet.get(subcommand, {})

    def before_fit(self) -> None:
        """Begin a new training with what the task wants, and say what begins."""
        resumed = self._get(self.config, "ckpt_path")
        if not resumed:
            self.model.begin()
        weights = sum(each.numel() for each in self.model.net.parameters())
        network = self.model.network.get("class_path", type(self.model).__name__).rpartition(".")[2]
        self._say(
            f"{network} with {weights:,} weights into {self.folder}" + (f", continuing {resumed}" if resumed else "")
        )

    def after_fit(self) -> None:
        """Say what came of it."""
        best = next((each for each in self.trainer.checkpoint_callbacks if each.best_model_path), None)
        score = f": best {best.monitor} {best.best_model_score:.4g} in {self.folder / BEST}" if best else ""
        if not best and (self.folder / LAST).is_file():
            score = f"; no validation gave {self.model.monitor}, so that there is no {BEST}, but {self.folder / LAST}"
        epochs, steps = counted(self.trainer.current_epoch, "epoch"), counted(self.trainer.global_step, "step")
        self._say(f"{epochs}, {steps} done{score}")

    def _say(self, line: str) -> None:
        if self.trainer.is_global_zero:
            print(line, file=sys.stderr, flush=True)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run, and turn Lightning's way out of an interruption into the usual one."""
        try:
            super()._run_subcommand(subcommand)
        except SystemExit as leaving:
            if not self.trainer.interrupted:
                raise
            if self.command == "fit" and (self.folder / LAST).is_file():
                self._say(f"stopped; the same command with --ckpt_path last continues {self.folder}")
            if leaving.code == 1:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + SIGTERM) from None


def calm() -> None:
    """Let through only what a user can act on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in CALM:
        warnings.filterwarnings("ignore", message)


def origin(error: BaseException) -> BaseException:
    """The error that an error was raised from, and so on, back to the first or to one that is told to the user."""
    return error if isinstance(error, UserError) or error.__cause__ is None else origin(error.__cause__)


def one_line(error: BaseException) -> str:
    """The message of an error, its line breaks made spaces."""
    return " ".join(str(error).split())


def as_list(value: Any) -> list[Any]:
    """What an option of the Trainer that takes one, several or none holds; True and False hold nothing."""
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
