"""What slow tests share: a workspace with the starter model and the demo sets."""

import shutil

import pytest

from workbench.setup.starter import NAME, make_starter
from workbench.workspace import Workspace, source_folder


@pytest.fixture(scope="module")
def starter_home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace of the module's own with the starter model and all demo sets."""
    starter = make_starter(source_folder() / "models", lambda *words: None)
    workspace = Workspace(tmp_path_factory.mktemp("starter"))
    workspace.models.mkdir()
    (workspace.models / NAME).symlink_to(starter)
    shutil.copytree(source_folder() / "data", workspace.data)
    return workspace
