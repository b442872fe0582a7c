"""Asks for packages that not everybody has. Imports none of them."""

from importlib.util import find_spec

from workbench.problems import UserError
from workbench.text import Text


class Say:
    missing = Text("The package {package} is needed {why}, and it is not installed. Install it with 'pip install {package}'.")


def require(package: str, why: Text, key: str = "infer_backend") -> None:
    """UserError that says why and how to install, when the package is not there."""
    if find_spec(package) is None:
        raise UserError(Say.missing(package=package, why=why()), key=key)
