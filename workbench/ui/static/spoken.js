// With what this browser remembers goes which tab is open: its words come first.
(language, prefs) => {
  const open = document.querySelector("#tabs [role=tab][aria-selected=true]");
  const tab = (open?.id || "").replace(/^tab-/, "").replace(/-button$/, "");
  return [language, { ...prefs, tab }];
};
