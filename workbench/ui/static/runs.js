// Passes a press on a row's button to the server; what deletes asks first, and what goes on asks for how long.
element.addEventListener("click", event => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  const { action, run, sure } = button.dataset;
  if (action === "delete" && !window.confirm(sure)) return;
  const epochs = action === "longer" ? window.prompt(sure, "1") : "";
  if (epochs === null) return;
  trigger("click", { action, run, epochs });
});
