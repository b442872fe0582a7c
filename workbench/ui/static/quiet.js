// Keeps Gradio 6 from passing the progress of events on to components: none is shown on this page (_quieten in window.py).
// At the end of an event Gradio notes its progress for each of its inputs, though no output shows any, and from then on passes
// all that it ever noted to those components some times an event, each found by a walk through the whole page. With this form of
// hundreds of fields a change of language took a second longer for it. What it has noted it reads through Object.entries.
{
  const entries = Object.entries;
  Object.entries = given => {
    const found = entries(given);
    return found.some(([, one]) => isProgress(one)) && found.every(([, one]) => isProgress(one) || isForgotten(one)) ? [] : found;
  };

  function isForgotten(one) {
    return one !== null && typeof one === "object" && !Object.keys(one).length;
  }

  function isProgress(one) {
    return one !== null && typeof one === "object" && "fn_index" in one && "stream_state" in one && "show_progress" in one;
  }
}
