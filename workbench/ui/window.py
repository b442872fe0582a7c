"""The window: tabs in their order, the language, a visitor's arrival, and the door. Knows no tab by name, no torch."""

import html
import locale as system_locale
import os
import threading
import webbrowser
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

import gradio as gr

from workbench.ports import free_port
from workbench.sockets import plugins
from workbench.specs import TrainSpec
from workbench.text import Locale, Text, choose_locale, load_locales
from workbench.ui import tabs
from workbench.ui.desk import BROWSER_KEY, FOLDED, Desk, over, place_of, static
from workbench.ui.form import Form
from workbench.ui.lean import Lean
from workbench.ui.look import theme
from workbench.ui.topbar import build_topbar
from workbench.workspace import Workspace, source_folder

LANGUAGES = {"en": "English", "zh": "中文", "ja": "日本語", "ko": "한국어", "ru": "Русский"}


class Say:
    title = Text("Workbench")
    language = Text("Language")
    away = Text(
        "The workbench does not answer: its program has ended, or the connection to it is broken. A run that has begun goes on by "
        "itself. Start the workbench again, or reload the page if it runs. This page opens anew when it answers; what is typed until "
        "then is not kept."
    )
    open_at = Text("The workbench is open at {url}")
    how_to_end = Text("Close it with Ctrl-C; runs go on by themselves.")


def first_language(wanted: str | None) -> str:
    """The language of the first paint: as asked, or as the system speaks."""
    known = load_locales(source_folder() / "locales")
    return choose_locale(known, wanted or os.environ.get("LANG") or system_locale.getlocale()[0] or "en")


def build(workspace: Workspace, language: str) -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(title="Workbench", analytics_enabled=False, fill_width=True) as page:
        prefs = gr.BrowserState(
            {"language": "", "run": "", "advanced": False}, storage_key="workbench", secret=BROWSER_KEY
        )
        with gr.Row(elem_id="mast"):
            brand = gr.HTML(_brand(load_locales(source_folder() / "locales")[language]), elem_id="brand", apply_default_css=False)
            names = [(LANGUAGES.get(name, name), name) for name in load_locales(source_folder() / "locales")]
            picker = gr.Dropdown(names, value=language, show_label=False, container=False, elem_id="language", scale=0)
        desk = Desk(workspace, language, picker, prefs)
        desk.dress(picker, lambda locale: {"label": locale(Say.language)})
        desk.dress(brand, lambda locale: {"value": _brand(locale)})
        desk.form, desk.chat_with = Form(desk, TrainSpec), gr.State({})
        desk.evaluate_with, desk.export_with = gr.State({}), gr.State({})
        build_topbar(desk)
        order = sorted(plugins(tabs).items(), key=lambda item: item[1].ORDER)
        first = next(name for name, module in order if module.FIRST)
        with gr.Tabs(elem_id="tabs", selected=first) as tabbed:
            desk.tabs = tabbed
            for name, module in order:
                _tab(desk, name, module)
        for finish in desk.finishings:
            finish()
        for state in desk.memories:
            state.render()
        _arrive(desk, page)
        places = {component: place_of(component) for component, _ in desk.worded}  # once the page is open parents are gone
        plain = [component for component, place in places.items() if place != FOLDED]
        quiet: dict[str, Any] = {"show_progress": "hidden"}
        last: dict[str, Any] = {**quiet, "trigger_mode": "always_last"}  # who changes their mind at once gets the last language
        spoken = picker.input(partial(_speak, desk, places), [picker, prefs], [prefs, *plain], js=static("spoken.js"), **last)
        for function, inputs, outputs in desk.retellings:
            spoken.then(function, inputs, outputs, **quiet)
        spoken.then(lambda language: desk.redress(language), picker, list(places), js=static("later.js"), **last)
        pulse = gr.Button(visible="hidden", elem_id="pulse")  # pressed by stream.js
        pulse.click(lambda: None, trigger_mode="multiple")
    _quieten(page)
    return page


def _brand(locale: Locale) -> str:
    """The name of the page, and what away.js shows beside it."""
    return f'<h1>Workbench</h1><p id="away" role="alert">{html.escape(locale(Say.away))}</p>'


def _quieten(page: gr.Blocks) -> None:
    """No event tells its progress on a component, and none is part of an API of this page.

    ``show_progress="hidden"`` alone only hides it: the browser would still pass four news of every event to every
    component that was ever an output, and but for quiet.js to every input. The description of the API would be most of
    the page's bytes.
    """
    for event in page.fns.values():
        event.show_progress_on = []
        event.api_visibility = "private"


def _tab(desk: Desk, name: str, module: ModuleType) -> None:
    def dress(locale: Locale) -> dict[str, Any]:
        return {"label": locale(module.TITLE)}

    with desk.words(gr.Tab, dress, id=name, elem_id=f"tab-{name}"):
        module.build(desk)


def _speak(desk: Desk, places: Mapping[Any, str], language: str, prefs: Mapping[str, Any]) -> dict[Any, Any]:
    """The other language for what is seen: a browser needs a second for the words of all tabs and folds, which come later."""
    kept, open_tab = {key: value for key, value in prefs.items() if key != "tab"}, prefs.get("tab")
    return {desk.prefs: {**kept, "language": language}, **desk.redress(language, lambda one: places[one] in ("", open_tab))}


def _arrive(desk: Desk, page: gr.Blocks) -> None:
    """On page load, in one event: the visitor's language, and what every tab has to show."""
    worded = [component for component, _ in desk.worded]
    inputs = [component for arrival in desk.arrivals for component in arrival.inputs]
    outputs = list(dict.fromkeys([desk.language, *worded, *(one for it in desk.arrivals for one in it.outputs)]))

    def arrive(prefs: dict[str, Any], request: gr.Request, *values: Any) -> dict[Any, Any]:
        wanted = prefs.get("language") or request.headers.get("accept-language", "")
        language = choose_locale(desk.locales, wanted) if wanted else desk.first
        updates: dict[Any, Any] = {desk.language: gr.update(value=language)}
        if language != desk.first:
            updates |= desk.redress(language)
            updates[desk.language] = over(updates[desk.language], language)
        rest = list(values)
        for arrival in desk.arrivals:
            mine, rest = rest[: len(arrival.inputs)], rest[len(arrival.inputs) :]
            for one, update in zip(arrival.outputs, arrival.updates(language, prefs, *mine), strict=True):
                updates[one] = over(updates.get(one, {}), update)
        return updates

    page.load(arrive, [desk.prefs, *inputs], outputs, show_progress="hidden")


def open_window(
    workspace: Workspace,
    host: str = "127.0.0.1",
    port: int = 7860,
    lang: str | None = None,
    browser: bool = True,
    auth: tuple[str, str] | None = None,
) -> None:
    """Serve the page until Ctrl-C. ``auth`` asks every visitor for this user and password."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    language = first_language(lang)
    say = load_locales(source_folder() / "locales")[language]
    chosen, why = free_port(host, port)
    if why:
        print(say(why), flush=True)
    page = build(workspace, language)
    page.launch(
        server_name=host,
        server_port=chosen,
        auth=auth,
        quiet=True,
        share=False,
        inbrowser=False,
        prevent_thread_lock=True,
        show_error=True,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        theme=theme(),
        css=static("style.css"),
        app_kwargs={"middleware": [(Lean, (), {})]},
        head=f"{static('head.html')}<script>{static('quiet.js')}{static('attached.js')}{static('stream.js')}{static('away.js')}</script>",
    )
    url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{chosen}"  # noqa: S104 - only compared
    print(say(Say.open_at(url=url)), flush=True)
    print(say(Say.how_to_end), flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    page.block_thread()
