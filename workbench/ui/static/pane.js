// Draws one conversation and tells what is pressed in it: {action, at, value}. It writes with what markdown.js has.
const talk = () => element.querySelector(".talk");
const tell = (action, at, value = "") => trigger("click", { action, at: String(at), value });
let follows = true;
const unfolded = new Set();

function press(words, act) {
  const button = node("button", "act", words);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}

function fold(kind, at, title, ...inside) {
  const made = node("details", kind), key = `${kind}${at}`;
  made.append(node("summary", "", title), ...inside);
  made.open = unfolded.has(key);
  made.addEventListener("toggle", () => { if (made.open) unfolded.add(key); else unfolded.delete(key); });
  return made;
}

function compared(pieces) {
  const made = node("p", "compared");
  for (const [text, differs] of pieces) made.append(differs ? node("mark", "", text) : text);
  return made;
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 1); } catch { return text; }
}

function called(call, says) {
  const made = node("div", "call");
  made.append(node("span", "quiet", `${says.calls} `), node("code", "", call.function.name), node("pre", "", pretty(call.function.arguments)));
  return made;
}

function answered(message, at, says, state) {
  const made = [], thinking = state.writing && !message.content;
  if (message.reasoning_content) made.push(fold("thought", at, thinking ? says.thinking : says.thought, node("p", "", message.reasoning_content.trim())));
  if (state.marked.length) made.push(compared(state.marked));
  else if (message.content) made.push(...markdown(message.content, says));
  for (const call of message.tool_calls || []) made.push(called(call, says));
  if (state.writing && !message.content && !message.tool_calls) made.push(node("span", "dots"));
  else if (!made.length) made.push(node("p", "nothing", says.nothing));
  return made;
}

function turn(message, at, says, state) {
  const mine = message.role === "user", tool = message.role === "tool";
  const made = node("article", mine ? "turn mine" : tool ? "turn told" : "turn");
  made.setAttribute("aria-label", mine ? says.you : tool ? says.result : says.model);
  const body = node("div", "body");
  if (tool) body.append(node("span", "quiet", `${says.result} ${message.name || ""}`), node("pre", "", message.content));
  else if (mine) body.append(node("p", "", message.content));
  else body.append(...answered(message, at, says, state));
  made.append(body);
  if (state.writing || tool) return made;
  if (state.open) made.append(results(message.tool_calls, at, says));
  const acts = node("div", "acts");
  if (message.content && navigator.clipboard) acts.append(copier(message.content, says));
  if (!state.busy) acts.append(mine ? press(says.edit, () => edit(made, message, at, says)) : press(says.again, () => tell("again", at)));
  made.append(acts);
  return made;
}

function results(calls, at, says) {
  // What the called tools gave back is entered by hand, one box for each call.
  const made = node("form", "results");
  for (const call of calls) {
    const box = node("textarea");
    box.rows = 2;
    box.placeholder = says.give;
    box.setAttribute("aria-label", `${says.result} ${call.function.name}`);
    made.append(box);
  }
  const button = node("button", "", says.send);
  made.append(button);
  made.addEventListener("submit", event => {
    event.preventDefault();
    tell("result", at, JSON.stringify([...made.querySelectorAll("textarea")].map(box => box.value)));
  });
  return made;
}

function edit(made, message, at, says) {
  // The form stands until the question has changed: words that could not be sent yet are not lost.
  const form = node("form", "editing"), box = node("textarea", "", message.content), row = node("div", "acts");
  box.rows = Math.min(10, message.content.split("\n").length + 1);
  box.setAttribute("aria-label", says.edit);
  const send = node("button", "send", says.resend);
  const leave = () => { made.dataset.seen = ""; draw(); };
  row.append(send, press(says.cancel, leave));
  form.append(box, row);
  form.addEventListener("submit", event => {
    event.preventDefault();
    if (box.value.trim() === message.content) made.dataset.seen = "";
    if (box.value.trim()) tell("edit", at, box.value);
  });
  box.addEventListener("keydown", event => {
    if (event.key === "Escape") leave();
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  made.classList.add("being-edited");
  made.replaceChildren(form);
  made.dataset.seen = `edited ${message.content}`;
  box.focus();
}

function draw() {
  const { messages = [], busy = false, says = {}, marked = [] } = props.value || {};
  const log = talk(), last = messages.length - 1;
  log.setAttribute("aria-label", says.label || "");
  log.setAttribute("aria-busy", String(busy));
  messages.forEach((message, at) => {
    const state = {
      writing: busy && at === last,
      busy,
      open: !busy && at === last && message.role === "assistant" && (message.tool_calls || []).length > 0,
      marked: at === last && !busy ? marked : [],
    };
    const seen = JSON.stringify([message, state, says.copy]);
    const old = log.children[at];
    if (old && (old.dataset.seen === seen || old.dataset.seen === `edited ${message.content}`)) return;
    const made = turn(message, at, says, state);
    made.dataset.seen = seen;
    if (old) old.replaceWith(made); else log.append(made);
  });
  while (log.children.length > messages.length) log.lastElementChild.remove();
  if (!messages.length) {
    log.append(node("p", "empty", says.empty || ""));
    follows = true;
    unfolded.clear();
  }
  if (follows) log.scrollTop = log.scrollHeight;
}

talk().addEventListener("scroll", () => {
  const log = talk();
  follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
});
new ResizeObserver(() => { if (follows) talk().scrollTop = talk().scrollHeight; }).observe(talk());
watch("value", draw);
draw();
