"""A task whose network may begin a training with weights that know something else."""

from __future__ import annotations

from .errors import UserError
from .task import Task


class PretrainedTask(Task):
    """Loads the weights to begin with before a new training; one that goes on has its own.

    Attributes:
        pretrained: "imagenet" (downloaded once), a file, or None to begin from nothing; the network loads them by its
            `load_pretrained(file or None)`.
    """

    pretrained: str | None = None

    def begin(self) -> None:
        """Load the weights.

        Raises:
            UserError: they cannot be had, or the network takes none.
        """
        if not self.pretrained:
            return
        if not hasattr(self.net, "load_pretrained"):
            raise UserError(f"model.pretrained: {type(self.net).__name__} cannot load such weights; leave it out.")
        try:
            self.net.load_pretrained(None if self.pretrained == "imagenet" else self.pretrained)
        except UserError as error:
            raise UserError(f"model.pretrained: {error}") from error
