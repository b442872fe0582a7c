// Marks the fields that differ from their defaults, gives each a press that takes it back, and tells those not seen in the simple form.
const ARROW = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M6 3 2.5 6.5 6 10M3 6.5h6.2a3.8 3.8 0 0 1 0 7.5H6"/></svg>';

function mark() {
  const { fields, sections, deep } = props.value ?? { fields: {}, sections: [], deep: "" };
  const told = element.querySelector("p");
  if (told.textContent !== deep) told.textContent = deep;  // or the observer below would see a change each time
  for (const section of document.querySelectorAll(".section")) section.toggleAttribute("data-changed", sections.includes(section.id));
  for (const field of document.querySelectorAll("#asking .field, #topbar .field")) {
    const words = fields[field.id];
    field.toggleAttribute("data-changed", words !== undefined);
    let press = field.querySelector(":scope > .back");
    if (words === undefined) { press?.remove(); continue; }
    if (!press) {
      press = document.createElement("button");
      press.type = "button";
      press.className = "back";
      press.innerHTML = ARROW;
      press.addEventListener("click", () => {
        field.querySelector("input, textarea")?.focus();
        trigger("click", { field: field.id });
      });
      field.append(press);
    }
    press.title = words;
    press.setAttribute("aria-label", words);
  }
}

// A section mounts its fields when it is first opened, and a field comes and goes with what is chosen.
let due = false;
const later = () => {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; mark(); });
};
new MutationObserver(later).observe(document.querySelector("#asking"), { childList: true, subtree: true });

// An answer to what is no longer there: ask again, once for each state of the form.
let asked = "";
function compare() {
  const now = JSON.stringify(globalThis.filled ?? {}), heard = props.value?.heard;
  if (heard == null || heard === now || asked === now) return;
  asked = now;
  setTimeout(() => { if (JSON.stringify(globalThis.filled ?? {}) === now) trigger("input"); }, 300);
}
watch("value", () => { mark(); compare(); });
mark();
