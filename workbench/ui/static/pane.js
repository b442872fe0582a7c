// Draws one conversation. Every text is written as text, never as HTML, so that nothing a model or a person writes can act.
const node = (tag, classes, text) => {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
};
const talk = () => element.querySelector(".talk");
let follows = true;

function parts(text) {
  // Between two lines of three backticks stands code; an open fence runs to the end, since its end may still come.
  const made = [];
  text.split(/^[ \t]*```[^\n`]*(?:\n|$)/m).forEach((part, at) => {
    if (!part) return;
    made.push(at % 2 ? node("pre", "", part.replace(/\n$/, "")) : words(part));
  });
  return made;
}

function words(text) {
  const paragraph = node("p");
  for (const part of text.replace(/^\n+|\n+$/g, "").split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/)) {
    if (part.length > 2 && part.startsWith("`")) paragraph.append(node("code", "", part.slice(1, -1)));
    else if (part.length > 4 && part.startsWith("**")) paragraph.append(node("strong", "", part.slice(2, -2)));
    else paragraph.append(part);
  }
  return paragraph;
}

function turn(message, says, writing) {
  const mine = message.role === "user";
  const made = node("article", mine ? "turn mine" : "turn");
  made.setAttribute("aria-label", mine ? says.you : says.model);
  const body = node("div", "body");
  if (writing && !message.content) body.append(node("span", "dots"));
  else if (!message.content) body.append(node("p", "nothing", says.nothing));
  else body.append(...(mine ? [node("p", "", message.content)] : parts(message.content)));
  made.append(body);
  if (!mine && !writing && message.content && navigator.clipboard) made.append(copier(message.content, says));
  return made;
}

function copier(text, says) {
  const button = node("button", "copy", says.copy);
  button.type = "button";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = says.copied;
    setTimeout(() => { button.textContent = says.copy; }, 1500);
  });
  return button;
}

function draw() {
  const { messages = [], busy = false, says = {} } = props.value || {};
  const log = talk();
  log.setAttribute("aria-label", says.label || "");
  log.setAttribute("aria-busy", String(busy));
  messages.forEach((message, at) => {
    const writing = busy && at === messages.length - 1;
    const seen = JSON.stringify([message.role, message.content, writing, says.copy]);
    const old = log.children[at];
    if (old && old.dataset.seen === seen) return;
    const made = turn(message, says, writing);
    made.dataset.seen = seen;
    if (old) old.replaceWith(made); else log.append(made);
  });
  while (log.children.length > messages.length) log.lastElementChild.remove();
  if (!messages.length) {
    const empty = node("p", "empty", says.empty || "");
    log.append(empty);
    follows = true;
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
