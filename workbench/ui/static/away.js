// Says on the page that the window's program does not answer, and opens the page anew once another one answers in its place.
// It is noticed by whatever the page asks: news of a run that goes on, what is new when it is looked at again, a press. Gradio
// says so only after a press, in English; while these words stand, its own are not seen (style.css).
{
  const PAUSE_MS = 2000, PATIENCE_MS = 5000;
  const BETWEEN = [502, 503, 504];  // what stands between says this where nothing answers behind it
  const asking = window.fetch;
  let away = false;

  window.fetch = async (...given) => {
    const address = new URL(given[0].url || given[0], window.location);
    try {
      const answer = await asking(...given);
      if (BETWEEN.includes(answer.status) && isOurs(address)) look();
      return answer;
    } catch (error) {
      if (error instanceof TypeError && isOurs(address)) look();  // not one that was cancelled
      throw error;
    }
  };

  const root = () => new URL(`${window.gradio_config?.root}${window.gradio_config?.api_prefix}/`, window.location).pathname;
  const isOurs = address => address.host === window.location.host && address.pathname.startsWith(root());

  async function look() {
    if (away) return;
    away = true;
    for (;;) {
      const found = await whoAnswers();
      if (found === window.gradio_config.app_id) break;
      if (found !== null) return window.location.reload();
      document.body.toggleAttribute("data-away", true);
      await new Promise(done => setTimeout(done, PAUSE_MS));
    }
    away = document.body.toggleAttribute("data-away", false);
  }

  async function whoAnswers() {
    try {
      const answer = await asking(`${root()}app_id`, { signal: AbortSignal.timeout(PATIENCE_MS) });
      return answer.ok ? (await answer.json()).app_id : null;
    } catch (error) {
      return null;
    }
  }
}
