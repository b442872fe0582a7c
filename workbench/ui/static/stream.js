// Keeps the page's events in order, and brings in the answer to one that crossed the end of the page's stream of news on its way.
// Gradio 6 sends each event at once, over any of the browser's connections: of two that follow close upon each other and are
// answered by one function, as two letters that are typed, the later could arrive first, and the answer to the earlier stood for
// good. What arrives in order that function answers in order.
//
// Gradio 6 ends that stream when it waits for no event. A page that asks for one before it hears of the end believes the
// stream to be open, and the answer lies at the server until another event opens a stream: so one follows, if one is due.
{
  const GRACE_MS = 100, PATIENCE_MS = 3000;
  const due = new Set(), answered = new Set();
  const asking = window.fetch;
  let open = 0, before = Promise.resolve();

  window.fetch = async (...given) => {
    const address = String(given[0].url || given[0]);
    const answer = await (address.includes("/queue/join") ? inOrder(given) : asking(...given));
    if (answer.ok && address.includes("/queue/join")) expect(answer.clone()).catch(() => {});  // Gradio reads it too, and says so
    if (answer.ok && address.includes("/queue/data")) follow(answer.clone().body.getReader());
    return answer;
  };

  function inOrder(given) {
    const sent = before.then(() => asking(...given));
    const enough = new Promise(done => setTimeout(done, PATIENCE_MS));
    before = Promise.race([sent, enough]).catch(() => {});  // one that is lost, or hangs, holds up no other
    return sent;
  }

  async function expect(answer) {
    const { event_id } = await answer.json();
    if (!answered.has(event_id)) due.add(event_id);
  }

  async function follow(reader) {
    const decoder = new TextDecoder();
    let text = "";
    open += 1;
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const lines = (text + decoder.decode(part.value, { stream: true })).split("\n\n");
        text = lines.pop();
        for (const line of lines) {
          const news = JSON.parse(line.slice("data: ".length));
          if (news.msg === "process_completed") { answered.add(news.event_id); due.delete(news.event_id); }
        }
      }
    } catch (error) { /* the page has closed the stream */ }
    open -= 1;
    setTimeout(() => {
      if (open) return;
      if (due.size) document.querySelector("#pulse")?.click();
      due.clear();
      answered.clear();
    }, GRACE_MS);
  }
}
