// Shows an evaluation: asks the server what is new while it goes on, and for the samples that are looked at. Every part
// comes as HTML in which the server has escaped all that people or models wrote.
const PAUSE_MS = 1000;
const PARTS = ["head", "body", "foot"];
const TYPES = { csv: "text/csv", jsonl: "application/jsonl", md: "text/markdown", json: "application/json" };
let asked = null, timer = null, busy = false, due = false;
let seen = {}, parts = {}, state = "", stopping = false, look = {}, opened = {};

const root = () => element.querySelector(".evaluated") || element;
const going = () => state === "running" || state === "waiting";

function box(name) {
  let found = root().querySelector(`:scope > .part-${name}`);
  if (!found) {
    for (const one of PARTS) {
      const made = document.createElement("div");
      made.className = `part-${one}`;
      root().append(made);
      if (one === name) found = made;
    }
  }
  return found;
}

function draw(name) {
  const place = box(name), held = place.contains(document.activeElement) ? document.activeElement.dataset : null;
  place.innerHTML = parts[name] ?? "";
  for (const fold of place.querySelectorAll("details[data-name]")) {
    if (fold.dataset.name in opened) fold.open = opened[fold.dataset.name];
    fold.addEventListener("toggle", () => { opened[fold.dataset.name] = fold.open; });
  }
  if (held?.action) {
    const same = [...place.querySelectorAll(`[data-action="${held.action}"]`)];
    (same.find(one => one.dataset.at === held.at) ?? same[0])?.focus({ preventScroll: true });
  }
  const log = place.querySelector("[data-name=log] pre");
  if (log) log.scrollTop = log.scrollHeight;
}

function take(answer) {
  const changed = state !== answer.state || stopping !== answer.stopping;
  seen = answer.seen; state = answer.state; stopping = answer.stopping;
  Object.assign(parts, answer.parts);
  root().dataset.state = state;
  for (const name of PARTS) if (name in answer.parts || !root().querySelector(`:scope > .part-${name}`)) draw(name);
  if (changed) trigger("change", { state });
}

async function ask() {
  clearTimeout(timer);
  if (busy) { due = true; return; }
  if (!root().isConnected || !asked) return;
  busy = true;
  do {
    due = false;
    const question = asked;
    try {
      const answer = await server.snapshot({ ...question, seen, look });
      if (question === asked) take(answer);
    } catch (error) { /* the window is away; the next question tries again */ }
  } while (due);
  busy = false;
  if (!document.hidden && (going() || !state)) timer = setTimeout(ask, PAUSE_MS);
}

function see(change, up) {
  look = { ...look, ...change };
  ask().then(() => { if (up) root().querySelector(".samples")?.scrollIntoView({ block: "start" }); });
}

async function save(kind) {
  const file = await server.file({ run: asked.run, language: asked.language, kind });
  if (!file.name) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file.text], { type: TYPES[kind] }));
  link.download = file.name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function toggle(button) {
  const sample = button.closest(".sample");
  button.setAttribute("aria-expanded", sample.classList.toggle("open"));
}

element.addEventListener("click", event => {
  const button = event.target.closest("button[data-action]");
  if (!button) {
    const main = event.target.closest(".sample .main");
    if (main && !String(getSelection())) toggle(main.querySelector("button[data-action=open]"));
    return;
  }
  const { action, at, sure } = button.dataset;
  if (sure && !window.confirm(sure)) return;
  switch (action) {
    case "open": return toggle(button);
    case "only": return see({ only: at, page: 0 });
    case "page": return see({ page: Number(at) }, true);
    case "sort": return see({ sort: at, down: look.sort === at && !look.down, page: 0 });
    case "file": return save(at);
    default:
      button.disabled = true;
      setTimeout(() => { button.disabled = false; }, 5000);
      trigger("click", { action });
  }
});

element.addEventListener("change", event => {
  const chosen = event.target.closest("select[data-action]");
  if (!chosen) return;
  switch (chosen.dataset.action) {
    case "measure": return see({ measure: chosen.value, page: 0 });
    case "compare": return see({ compare: chosen.value });
    case "order": return see({ sort: chosen.value.replace(/-down$/, ""), down: chosen.value.endsWith("-down"), page: 0 });
  }
});

function begin() {
  const value = props.value || {};
  if (!asked || value.run !== asked.run || value.language !== asked.language || value.nudge !== asked.nudge) {
    if (asked && value.run !== asked.run && element.getBoundingClientRect().top < 0) window.scrollTo({ top: 0 });
    if (!asked || value.run !== asked.run) { seen = {}; parts = {}; look = {}; opened = {}; }
    asked = { run: value.run, language: value.language, nudge: value.nudge };
    ask();
  } else for (const name of PARTS) if (!root().querySelector(`:scope > .part-${name}`)) draw(name);
}

watch("value", begin);
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
window.addEventListener("focus", ask);
begin();
