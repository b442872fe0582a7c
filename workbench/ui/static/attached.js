// The events that begin at a component, found once for all of them: lean.py lets Gradio's page ask here.
// Gradio asks for each of hundreds of components, and each time looks through all events and all that they begin at.
{
  const known = new WeakMap();

  globalThis.attachedTo = (events, id) => {
    if (!known.has(events)) known.set(events, sorted(events));
    return known.get(events).get(id) ?? [];
  };

  function sorted(events) {
    const found = new Map();
    for (const event of events) {
      for (const id of new Set(event.targets.map(target => target[0]))) {
        if (!found.has(id)) found.set(id, []);
        found.get(id).push(event);
      }
    }
    return found;
  }
}
