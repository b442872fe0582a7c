"""What a worker can do: one file is one job. Knows specs and runs, no page.

To add one, write ``jobs/x.py`` with ``run(spec, desk)``; its name is the ``job`` of the spec.
"""

from typing import Any, Protocol

from workbench.desk import Desk


class Job(Protocol):
    """The members of a job's module."""

    def run(self, spec: Any, desk: Desk) -> dict[str, float]:
        """Do all of it; the closing figures. Raises UserError for what the person can mend."""
