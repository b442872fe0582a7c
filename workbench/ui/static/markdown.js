// Markdown as nodes: every text is written as text, never as HTML, so that nothing a model or a person writes can act.
const node = (tag, classes, text) => {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
};

const INLINE = /(`+)(?!`)([\s\S]*?[^`])\1(?!`)|(\*\*|__)(?=\S)([\s\S]*?\S)\3|(?<![\w*])([*_])(?=[^\s*_])([^*_]*?[^\s*_])\5(?![\w*])|~~(?=\S)([\s\S]*?\S)~~|(?<!!)\[([^\]\n]+)\]\((https?:\/\/[^\s()<>]+)\)/;

function inline(text, into) {
  // The outermost marks first; what stands inside them is looked through again, except in code.
  let rest = text;
  while (rest) {
    const found = INLINE.exec(rest);
    if (!found) break;
    if (found.index) into.append(rest.slice(0, found.index));
    if (found[1]) into.append(node("code", "", found[2].replace(/^ (.*\S.*) $/, "$1")));
    else if (found[3]) into.append(inline(found[4], node("strong")));
    else if (found[5]) into.append(inline(found[6], node("em")));
    else if (found[7] !== undefined) into.append(inline(found[7], node("del")));
    else into.append(inline(found[8], node("span")), node("span", "address", ` (${found[9]})`));
    rest = rest.slice(found.index + found[0].length);
  }
  if (rest) into.append(rest);
  return into;
}

const FENCE = /^( {0,3})(`{3,}|~{3,})\s*([^\s`]*)/;
const ITEM = /^(\s*)(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const DIVIDER = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
const cells = line => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map(cell => cell.trim().replace(/\\\|/g, "|"));

function markdown(text, says) {
  // The blocks of a text. A fence that is still open runs to the end, since its end may still come.
  const lines = text.split("\n"), made = [];
  let at = 0;
  const isStart = line => FENCE.test(line) || ITEM.test(line) || RULE.test(line) || /^ {0,3}(#{1,6}\s|>)/.test(line);
  const isTable = place => lines[place].includes("|") && place + 1 < lines.length && lines[place + 1].includes("-") && lines[place + 1].includes("|") && DIVIDER.test(lines[place + 1]);
  while (at < lines.length) {
    const line = lines[at];
    let found;
    if (!line.trim()) { at += 1; continue; }
    if ((found = FENCE.exec(line))) {
      const held = [];
      for (at += 1; at < lines.length && !(lines[at].trim().startsWith(found[2]) && !lines[at].trim().slice(found[2].length).replaceAll(found[2][0], "")); at += 1) held.push(lines[at]);
      at += 1;
      made.push(code(held.join("\n"), found[3], says));
    } else if ((found = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line))) {
      made.push(inline(found[2], node(`h${Math.min(6, found[1].length + 3)}`)));
      at += 1;
    } else if (RULE.test(line)) {
      made.push(node("hr"));
      at += 1;
    } else if (/^ {0,3}>/.test(line)) {
      const held = [];
      for (; at < lines.length && /^ {0,3}>/.test(lines[at]); at += 1) held.push(lines[at].replace(/^ {0,3}> ?/, ""));
      const quote = node("blockquote");
      quote.append(...markdown(held.join("\n"), says));
      made.push(quote);
    } else if (ITEM.test(line)) {
      at = list(lines, at, made, says);
    } else if (isTable(at)) {
      const head = cells(line), rows = [];
      for (at += 2; at < lines.length && lines[at].includes("|"); at += 1) rows.push(cells(lines[at]));
      made.push(table(head, rows));
    } else {
      const held = [];
      do { held.push(lines[at]); at += 1; } while (at < lines.length && lines[at].trim() && !isStart(lines[at]) && !isTable(at));
      made.push(inline(held.join("\n"), node("p")));
    }
  }
  return made;
}

function list(lines, from, made, says) {
  // Lines of one list: its items at one depth; what is set in deeper belongs to the item before it.
  const first = ITEM.exec(lines[from]), depth = first[1].length, numbered = first[3] !== undefined;
  const whole = node(numbered ? "ol" : "ul");
  if (numbered && first[3] !== "1") whole.start = Number(first[3]);
  let at = from, held = null;
  const close = () => {
    if (!held) return;
    const item = node("li"), inner = markdown(held.join("\n"), says);
    if (inner[0]?.tagName === "P") item.append(...inner.shift().childNodes);
    item.append(...inner);
    whole.append(item);
  };
  for (; at < lines.length; at += 1) {
    const line = lines[at], found = ITEM.exec(line), indent = line.length - line.trimStart().length;
    if (found && indent <= depth + 1 && indent >= depth - 1 && (found[3] !== undefined) === numbered && !RULE.test(line)) { close(); held = [found[4]]; }
    else if (!line.trim()) {
      const next = lines.slice(at + 1).find(one => one.trim());
      if (next === undefined || (!/^\s{2,}/.test(next) && !ITEM.test(next))) break;
      held.push("");
    } else if (indent > depth + 1) held.push(line.slice(Math.min(indent, depth + (numbered ? 3 : 2))));
    else if (found || lines[at - 1].trim() === "" || FENCE.test(line) || /^ {0,3}(#{1,6}\s|>)/.test(line) || RULE.test(line)) break;
    else held.push(line);
  }
  close();
  made.push(whole);
  return at;
}

function table(head, rows) {
  const whole = node("table"), top = node("thead"), body = node("tbody"), frame = node("div", "table");
  const row = (held, tag) => {
    const made = node("tr");
    head.forEach((_, at) => made.append(inline(held[at] ?? "", node(tag))));
    return made;
  };
  top.append(row(head, "th"));
  for (const one of rows) body.append(row(one, "td"));
  whole.append(top, body);
  frame.append(whole);
  return frame;
}

function code(text, language, says) {
  const frame = node("figure", "code"), head = node("figcaption", "", language);
  if (navigator.clipboard) head.append(copier(text, says));
  frame.append(head, node("pre", "", text));
  return frame;
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
