// Says on the page that the window's program does not answer, and opens the page anew once another one answers in its place.
// It is noticed by whatever the page asks: news of a run that goes on, what is new when it is looked at again, a press. Gradio
// says so only after a press, in English; while these words stand, its own are not seen (style.css).
{
  const PAUSE_MS = 2000;
  const asking = window.fetch;
  let away = false;

  window.fetch = async (...given) => {
    try {
      return await asking(...given);
    } catch (error) {
      if (error instanceof TypeError && String(given[0].url || given[0]).startsWith(root())) look();  // not one that was cancelled
      throw error;
    }
  };

  const root = () => `${window.gradio_config?.root}${window.gradio_config?.api_prefix}`;

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
      return (await (await asking(`${root()}/app_id`)).json()).app_id ?? "";
    } catch (error) {
      return null;
    }
  }
}
