// Draws a run. Asks the server what is new while the run goes on and the page is seen; writes text as text, never as HTML.
const PAUSE_MS = 1000;
let asked = null, timer = null, view = null, busy = false;
let seen = "", tab = 0, scale = "linear", zoom = null;
let curves = {}, epochs = "1";
const NONE = { steps: [], values: [], smooth: [] };

const node = (tag, classes, text) => {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
};
const svg = (tag, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

function forget() {
  seen = ""; view = null; zoom = null;
  curves = {};
}

async function ask() {
  clearTimeout(timer);
  if (busy || !root().isConnected) { if (root().isConnected) timer = setTimeout(ask, 200); return; }
  busy = true;
  try {
    const drawn = Object.fromEntries(Object.entries(curves).map(([name, curve]) => [name, [curve.steps.at(-1) ?? -1, curve.steps.length]]));
    const question = asked;
    const answer = await server.snapshot({ ...question, seen, drawn });
    if (question === asked && answer) take(answer);
  } catch (error) { /* the window is away; the next question tries again */ }
  busy = false;
  if (!document.hidden && (!view || view.state === "running" || view.state === "waiting")) timer = setTimeout(ask, PAUSE_MS);
}

function take(answer) {
  const before = view && view.state + view.shown;
  seen = answer.seen; view = answer;
  for (const [name, sent] of Object.entries(answer.curves ?? {})) {
    const curve = curves[name] ??= { steps: [], values: [], smooth: [] };
    curve.steps = curve.steps.slice(0, sent.from).concat(sent.points[0]);
    curve.values = curve.values.slice(0, sent.from).concat(sent.points[1]);
    if (sent.points[2]) curve.smooth = curve.smooth.slice(0, sent.from).concat(sent.points[2]);
  }
  draw();
  if (before !== answer.state + answer.shown) trigger("change", { state: answer.state, shown: answer.shown });
}

const root = () => element.querySelector(".live") || element;

function draw() {
  const opened = new Set([...root().querySelectorAll("details[open]")].map(fold => fold.dataset.name));
  const scrolled = root().querySelector(".log pre");
  const place = scrolled && scrolled.scrollTop + scrolled.clientHeight < scrolled.scrollHeight - 4 ? scrolled.scrollTop : null;
  root().replaceChildren();
  if (view.empty !== undefined) { root().append(node("p", "empty", view.empty)); return; }
  root().dataset.state = view.state;
  const head = node("div", "head");
  const chip = node("span", "chip " + view.shown, view.stateWord);
  chip.setAttribute("role", "status");
  head.append(chip, node("span", "name", view.name), node("span", "time", view.time));
  root().append(head, progress(), facts());
  if (view.problems) root().append(problems());
  else if (view.message) root().append(node("p", "message", view.message));
  if (view.after) root().append(after());
  if (view.health) root().append(node("p", "health " + view.health.level, view.health.text));
  root().append(chart());
  if (view.samples.length) root().append(samples());
  if (view.notes.length) root().append(fold("notes", view.words.notes, notes(), view.notes.some(n => n.level === "warning") || opened.has("notes")));
  const log = node("pre", "", view.log);
  const folded = fold("log", view.words.log, log, opened.has("log"));
  folded.classList.add("log");
  root().append(folded);
  log.scrollTop = place === null ? log.scrollHeight : place;
}

function progress() {
  const box = node("div", "progress");
  const phases = node("ol", "phases");
  for (const phase of view.phases) {
    const item = node("li", phase.now ? "now" : "", phase.word);
    if (phase.now) item.setAttribute("aria-current", "step");
    phases.append(item);
  }
  const bar = node("div", "bar" + (view.share === null && view.state === "running" ? " unknown" : ""));
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", view.name);
  if (view.share !== null) bar.setAttribute("aria-valuenow", Math.round(100 * view.share));
  const fill = node("div", "fill");
  fill.style.width = `${100 * (view.share ?? 0)}%`;
  bar.append(fill);
  const line = node("div", "line");
  line.append(phases, node("span", "steps", view.steps));
  box.append(line, bar);
  return box;
}

function facts() {
  const list = node("ul", "facts");
  for (const fact of view.facts) list.append(node("li", "", fact));
  return list;
}

function problems() {
  const box = node("div", "problems");
  box.setAttribute("role", "alert");
  for (const text of view.problems.texts) box.append(node("p", "", text));
  if (view.problems.detail) box.append(fold("detail", view.words.detail, node("pre", "", view.problems.detail), false));
  return box;
}

function after() {
  const box = node("section", "after");
  if (view.after.longer) box.append(longer(view.after.longer));
  else {
    if (view.after.title) box.append(node("p", "", view.after.title));
    box.append(...view.after.remedies.map(remedy), ...view.after.more.map(words => node("p", "", words)));
  }
  return box;
}

function remedy(one) {
  const row = node("div", "remedy"), words = node("div");
  words.append(node("strong", "", one.changes.join(", ")), node("p", "", one.told));
  row.append(words, presses(view.after.press, { action: "again", choice: one.choice }));
  return row;
}

function longer(words) {
  const row = node("div", "remedy"), said = node("label", "", words.before + " "), box = node("input");
  box.type = "number"; box.min = "1"; box.step = "any"; box.value = epochs;
  box.addEventListener("input", () => { epochs = box.value; });
  said.append(box, " " + words.after, node("p", "", words.told));
  row.append(said, presses(words.press, { action: "longer" }));
  return row;
}

function presses(word, asked) {
  const button = node("button", "", word);
  button.type = "button";
  button.addEventListener("click", () => {
    button.disabled = true;
    setTimeout(() => { button.disabled = false; }, 5000);
    trigger("click", { ...asked, run: view.name, epochs });
  });
  return button;
}

function samples() {
  const box = node("section", "samples");
  box.append(node("h3", "", view.words.watched));
  for (const sample of view.samples) {
    box.append(node("p", "prompt", sample.prompt));
    const list = node("dl", "");
    const answers = sample.answers.length > 4 ? [sample.answers[0], ...sample.answers.slice(-3)] : sample.answers;
    for (const answer of answers) list.append(node("dt", "", `${view.words.step} ${answer.step}`), node("dd", "", answer.text));
    box.append(list);
  }
  return box;
}

function notes() {
  const list = node("ul", "notes");
  for (const note of view.notes) list.append(node("li", note.level, note.text));
  return list;
}

function fold(name, title, content, open) {
  const box = node("details", "fold");
  box.dataset.name = name;
  box.open = open;
  box.append(node("summary", "", title), content);
  return box;
}

function chart() {
  const box = node("section", "chart");
  const bar = node("div", "tools");
  const tabs = node("div", "choices");
  if (tab >= view.charts.length) tab = 0;
  view.charts.forEach((one, at) => tabs.append(choice(one.title, tab === at, () => { tab = at; zoom = null; draw(); })));
  const scales = node("div", "choices");
  if (zoom) scales.append(choice(view.words.reset_zoom, false, () => { zoom = null; draw(); }));
  for (const [name, word] of [["linear", "linear"], ["log", "logarithmic"]])
    scales.append(choice(view.words[word], scale === name, () => { scale = name; draw(); }));
  bar.append(tabs, scales);
  box.append(bar);
  if (!(curves.loss ?? NONE).steps.length && !(curves.eval ?? NONE).steps.length) { box.append(node("p", "empty", view.words.no_points)); return box; }
  const legend = node("ul", "legend");
  const drawn = view.charts[tab].lines.filter(([curve]) => (curves[curve] ?? NONE).steps.length);
  if (view.charts[tab].lines.length > 1) for (const [, , kind, word] of drawn) legend.append(node("li", kind, word));
  legend.append(node("li", "hint", view.words.drag));
  box.append(plot(), legend);
  return box;
}

function choice(word, pressed, action) {
  const button = node("button", pressed ? "pressed" : "", word);
  button.type = "button";
  button.setAttribute("aria-pressed", pressed);
  button.addEventListener("click", action);
  return button;
}

function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map(times => times * power).find(one => one >= rough) || rough;
  const found = [];
  for (let at = Math.ceil(low / size) * size; at <= high + size * 1e-9; at += size) found.push(at);
  return found;
}

const number = value => value === 0 ? "0" : Math.abs(value) < 0.001 || Math.abs(value) >= 1e5 ? value.toExponential(1) : String(+value.toPrecision(3));

function plot() {
  const width = 720, height = 230, left = 52, right = 10, top = 10, bottom = 26;
  const lines = view.charts[tab].lines.filter(([curve]) => curves[curve]).map(([curve, values, kind, word]) => ({
    kind, word, points: curves[curve].steps.map((step, at) => [step, curves[curve][values][at]]).filter(point => Number.isFinite(point[1]) && (scale === "linear" || point[1] > 0)),
  }));
  const first = zoom ? zoom[0] : 0;
  const last = zoom ? zoom[1] : Math.max(1, ...lines.map(line => line.points.at(-1)?.[0] ?? 1));
  for (const line of lines) line.points = line.points.filter(([step]) => step >= first && step <= last);
  const values = lines.flatMap(line => line.points.map(point => point[1]));
  const bend = scale === "log" ? Math.log10 : value => value, unbend = scale === "log" ? value => 10 ** value : value => value;
  let low = bend(Math.min(...values)), high = bend(Math.max(...values));
  if (!(high > low)) { low -= 0.5; high += 0.5; }
  const margin = (high - low) * 0.06; low -= margin; high += margin;
  if (scale === "linear" && unbend(low) < 0 && Math.min(...values) >= 0) low = 0;
  const x = step => left + (step - first) / (last - first || 1) * (width - left - right);
  const y = value => top + (high - bend(value)) / (high - low) * (height - top - bottom);
  const image = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": view.charts[tab].title });
  for (const at of ticks(low, high, 5)) {
    const value = unbend(at);
    image.append(svg("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "grid" }));
    const label = svg("text", { x: left - 8, y: y(value) + 4, class: "tick", "text-anchor": "end" });
    label.textContent = number(value); image.append(label);
  }
  for (const at of ticks(first, last, 6).filter(Number.isInteger)) {
    const label = svg("text", { x: x(at), y: height - 8, class: "tick", "text-anchor": "middle" });
    label.textContent = at.toLocaleString(); image.append(label);
  }
  for (const line of lines) {
    const path = line.points.map(([step, value], at) => `${at ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    image.append(svg("path", { d: path, class: line.kind }));
    if (line.kind === "points" || line.points.length === 1)
      for (const [step, value] of line.points) image.append(svg("circle", { cx: x(step), cy: y(value), r: 3, class: line.kind }));
  }
  const box = node("div", "plot");
  const tip = node("div", "tip");
  tip.hidden = true;
  box.append(image, tip);
  hover(box, image, tip, lines, { first, last, left, right, width, height, top, bottom, x });
  return box;
}

function hover(box, image, tip, lines, at) {
  const guide = svg("line", { y1: at.top, y2: at.height - at.bottom, class: "guide", visibility: "hidden" });
  const shade = svg("rect", { y: at.top, height: at.height - at.top - at.bottom, class: "shade", visibility: "hidden" });
  image.append(shade, guide);
  let from = null;
  const stepAt = event => {
    const box = image.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * at.width - at.left) / (at.width - at.left - at.right);
    return at.first + Math.min(1, Math.max(0, share)) * (at.last - at.first);
  };
  image.addEventListener("pointermove", event => {
    const step = stepAt(event), rows = [];
    let nearest = null;
    for (const line of lines) {
      let best = null;
      for (const point of line.points) if (!best || Math.abs(point[0] - step) < Math.abs(best[0] - step)) best = point;
      if (best && (line.kind !== "points" || Math.abs(best[0] - step) <= (at.last - at.first) / 20)) rows.push([line.word, best]);
      if (best && line.kind !== "points") nearest = best[0];
    }
    nearest ??= rows[0]?.[1][0];
    if (nearest === undefined || nearest === null) return;
    guide.setAttribute("x1", at.x(nearest)); guide.setAttribute("x2", at.x(nearest)); guide.setAttribute("visibility", "visible");
    tip.replaceChildren(node("b", "", `${view.words.step} ${nearest.toLocaleString()}`), ...rows.map(([word, point]) => node("span", "", `${word} ${number(point[1])}`)));
    tip.hidden = false;
    tip.style.left = `${Math.min(78, at.x(nearest) / at.width * 100 + 1)}%`;
    if (from !== null) {
      const [a, b] = [Math.min(from, step), Math.max(from, step)];
      shade.setAttribute("x", at.x(a)); shade.setAttribute("width", at.x(b) - at.x(a)); shade.setAttribute("visibility", "visible");
    }
  });
  image.addEventListener("pointerleave", () => { tip.hidden = true; guide.setAttribute("visibility", "hidden"); });
  image.addEventListener("pointerdown", event => { from = stepAt(event); image.setPointerCapture(event.pointerId); event.preventDefault(); });
  image.addEventListener("pointerup", event => {
    const to = stepAt(event);
    if (from !== null && Math.abs(to - from) > (at.last - at.first) / 50) { zoom = [Math.min(from, to), Math.max(from, to)]; draw(); }
    from = null;
  });
  image.addEventListener("dblclick", () => { zoom = null; draw(); });
}

function begin() {
  const value = props.value || {};
  if (!asked || value.run !== asked.run || value.language !== asked.language || value.nudge !== asked.nudge) {
    if (!asked || value.run !== asked.run) forget();
    asked = { run: value.run, language: value.language, nudge: value.nudge };
    ask();
  } else if (view) draw();
}

forget();
watch("value", begin);
document.addEventListener("visibilitychange", () => { if (!document.hidden && asked) ask(); });
window.addEventListener("focus", () => { if (asked) ask(); });
begin();
