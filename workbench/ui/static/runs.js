// Passes a press on a row's button to the server; what deletes asks first.
element.addEventListener("click", event => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  const { action, run, sure } = button.dataset;
  if (action === "delete" && !window.confirm(sure)) return;
  trigger("click", { action, run });
});
