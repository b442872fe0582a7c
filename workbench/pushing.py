"""An export's folder to a hub, by the hub's own library. Knows no export and no page.

The token is read from the environment when it is needed; it reaches no file, no log and no message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.fields import plain
from workbench.hubs import HUGGINGFACE, MODELSCOPE, Hub, Site
from workbench.models import is_hub_id
from workbench.neighbours.installed import require
from workbench.problems import Problem, UserError, first_line
from workbench.text import Text

KEY = "export_hub_model_id"
MESSAGE = "Export"
OWN = ["proof.json", "export.json", "start.yaml", "start_*.sh", "start_*.bat"]
"""Files of an export that are the workbench's alone; the proof holds rows of the training with their answers."""


class Say:
    bad_id = Text("'{given}' is no repository. Accepted: owner/name. Write your own name at {hub} before the slash.")
    no_token = Text(
        "To push to {hub} a token is needed. Accepted: one that may write, in the variable {variable}. Set it, then start again."
    )
    why = Text("to push to ModelScope")
    refused = Text("{hub} refused the export: {reason} Check the token in {variable}, and that '{given}' is yours.")
    seen_by_all = Text(
        "A private repository was asked for, and '{given}' is there already at {hub} and not private. Nothing was sent. Accepted: "
        "a new name, or a private one. Make it private there, or untick 'Private repository'."
    )
    pushed = Text("The export lies at {page} too.")


def site_of(hub: Hub) -> Site:
    """How the hub is spoken to."""
    return HUGGINGFACE if hub == "huggingface" else MODELSCOPE


def problems_of(hub: Hub, given: str) -> list[Problem]:
    """What can be told before anything is exported: the repository's name, the token, the library."""
    if not given:
        return []
    site = site_of(hub)
    if not is_hub_id(given):
        return [Problem(Say.bad_id(given=plain(given), hub=site.title), KEY)]
    if not site.token:
        return [Problem(Say.no_token(hub=site.title, variable=site.token_variable), KEY)]
    try:
        if site is MODELSCOPE:
            require("modelscope_hub", Say.why, KEY)
    except UserError as error:
        return list(error.problems)
    return []


def push(hub: Hub, given: str, folder: Path, private: bool) -> str:
    """Make the repository where there is none and send the folder, without what is the workbench's own; the address of its page."""
    site = site_of(hub)
    send = _to_hugging_face if site is HUGGINGFACE else _to_modelscope
    send(site, given, folder, private)
    return site.page(given)


def _to_hugging_face(site: Site, given: str, folder: Path, private: bool) -> None:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=site.endpoint, token=site.token)
    try:
        with _online():
            api.create_repo(given, private=private, exist_ok=True)
            if private and not api.repo_info(given).private:  # one that is there already stays as it is
                raise UserError(Say.seen_by_all(given=plain(given), hub=site.title), key=KEY)
            api.upload_folder(repo_id=given, folder_path=folder, commit_message=MESSAGE, ignore_patterns=OWN)
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        raise _refused(site, given, error) from error


@contextmanager
def _online() -> Iterator[None]:
    """Let the library speak to the hub: workers are otherwise told to look for nothing there."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _to_modelscope(site: Site, given: str, folder: Path, private: bool) -> None:
    from modelscope_hub import HubApi, Visibility
    from modelscope_hub.errors import AlreadyExistsError, HubError

    api = HubApi(endpoint=site.endpoint, token=site.token)
    try:
        try:
            api.create_repo(given, "model", visibility="private" if private else "public")
        except AlreadyExistsError:  # the export goes into what is there
            if private and api.get_repo(given, "model").visibility != Visibility.PRIVATE:
                raise UserError(Say.seen_by_all(given=plain(given), hub=site.title), key=KEY) from None
        api.upload_folder(given, "model", folder, commit_message=MESSAGE, disable_tqdm=True, ignore_patterns=OWN)
    except (HubError, OSError, ValueError) as error:
        raise _refused(site, given, error) from error


def _refused(site: Site, given: str, error: Exception) -> UserError:
    reason = first_line(error).replace(site.token, "***")
    return UserError(Say.refused(hub=site.title, reason=reason, variable=site.token_variable, given=plain(given)), key=KEY)
