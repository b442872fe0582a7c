"""Where data, models, saves and locales are; the only holder of paths. Knows nothing of what they contain."""

import os
from dataclasses import dataclass
from pathlib import Path

from workbench.problems import UserError
from workbench.text import Text


class Say:
    outside = Text("'{given}' lies outside {folder}. Accepted: a name or a path inside it. Choose one without '..'.")
    impossible = Text("'{given}' can't be a path. Accepted: a name or a path inside {folder}. Shorten or rename it.")


@dataclass(frozen=True)
class Workspace:
    """One folder that holds everything a person trains with."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def saves(self) -> Path:
        return self.root / "saves"

    @property
    def cache(self) -> Path:
        """What can be made again: deleting it loses time only."""
        return self.root / "cache"

    def inside(self, folder: Path, given: str, key: str | None = None) -> Path:
        """The path ``given`` under ``folder``; UserError beside ``key`` when it would leave the folder.

        Links are not followed: those inside the workspace were laid by its owner, say to a larger disk.
        """
        try:
            path = Path(os.path.abspath(folder / given))
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError):
            raise UserError(Say.impossible(given=given[:80], folder=folder.name), key=key) from None
        if not path.is_relative_to(os.path.abspath(folder)):
            raise UserError(Say.outside(given=given, folder=folder.name), key=key)
        return path


def source_folder() -> Path:
    """The folder of the program itself: its locales, examples and demo data."""
    return Path(__file__).resolve().parent.parent


def default_workspace() -> Workspace:
    """The workspace is the program's own folder: deleting it uninstalls everything."""
    return Workspace(source_folder())
