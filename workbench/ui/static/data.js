// Tells the server which button or box inside a list was pressed: {action, at, value}. What deletes asks first.
element.addEventListener("click", event => {
  const button = event.target.closest("button[data-action]");
  if (!button || button.disabled) return;
  const { action, at = "", sure } = button.dataset;
  if (sure && !window.confirm(sure)) return;
  trigger("click", { action, at, value: "" });
});
element.addEventListener("change", event => {
  const box = event.target.closest("input[data-action]");
  if (!box) return;
  trigger("click", { action: box.dataset.action, at: box.dataset.at || "", value: box.type === "checkbox" ? String(box.checked) : box.value });
});
let picked = null, asked = false;
const drawn = () => {
  // What was ticked before must not outlive a new list; the chosen set comes into sight; what was not counted is asked for.
  for (const box of element.querySelectorAll("input[type=checkbox][data-action]")) box.checked = box.hasAttribute("checked");
  const chosen = element.querySelector("li > button[aria-pressed=true]");
  const side = element.closest("#data-side");
  if (chosen && side && chosen.dataset.at !== picked) {
    const [inner, outer] = [chosen.getBoundingClientRect(), side.getBoundingClientRect()];
    const below = inner.bottom - Math.min(outer.bottom, window.innerHeight) + 8;
    if (below > 0) side.scrollTop += below;
    else if (inner.top < outer.top) side.scrollTop -= outer.top - inner.top + 8;
  }
  picked = chosen ? chosen.dataset.at : null;
  const pending = !!element.querySelector("[data-pending]");
  if (pending && !asked) setTimeout(() => { asked = false; trigger("click", { action: "count", at: "", value: "" }); }, 100);
  asked = pending;
};
new MutationObserver(drawn).observe(element, { childList: true, subtree: true, attributes: true, attributeFilter: ["checked", "aria-pressed"] });
drawn();
