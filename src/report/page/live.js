// While a study runs: how far it is, and the page again when there is a new one. `live.js` beside the page is a call of
// `dmadLive` with what `status.json` says; a script is the only file that a page may read from a folder.
{
  const EVERY = 2000, LOST = 60;
  const panel = document.getElementById("live");
  const own = Number(panel.dataset.made);
  let heard = false;
  const time = (seconds) =>
    seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const silent = (process) => (Date.now() - Date.parse(process.heartbeat)) / 1000;
  const told = (process) => {
    const { runs } = process, ended = runs.done + runs.current + runs.failed;
    const bar = element("progress");
    bar.max = Math.max(runs.total, 1);
    bar.value = ended;
    bar.setAttribute("aria-label", "runs that have ended");
    const parts = [`${ended} of ${runs.total} runs`];
    if (runs.current) parts.push(`${runs.current} of them recorded before`);
    if (runs.failed) parts.push(`${runs.failed} failed`);
    if (process.state === "running" && process.seconds_left !== null) parts.push(`about ${time(process.seconds_left)} left`);
    if (process.state !== "running") parts.push(process.state === "finished" ? "finished: the page is being made" : "stopped");
    const lines = [element("p", parts.join(" · "), "counts"), bar];
    const lost = process.state === "running" && silent(process) > LOST;
    if (lost) {
      const text = `No word for ${time(silent(process))}: process ${process.pid} on ${process.host} may have been killed. The same command goes on where it was.`;
      lines.push(element("p", text, "missing"));
    } else {
      const list = element("ul");
      for (const { run, stage, done, total } of process.stages) {
        list.append(element("li", `${run} · ${stage}${total > 0 ? ` ${done}/${total}` : ""}`));
      }
      lines.push(list);
    }
    for (const { run, message } of process.failures) lines.push(element("p", `${run} failed: ${message}`, "missing"));
    lines.push(element("p", `dmad ${process.command} · ${process.host} · since ${process.started}`, "small"));
    return lines;
  };
  const again = (why) => {
    if (keep.get("again") === why) return;
    keep.set("again", why);
    keep.leave();
    location.reload();
  };
  window.dmadLive = (status) => {
    heard = true;
    panel.querySelector(".told").replaceChildren(...status.processes.flatMap(told));
    const works = (process) => process.state === "running" && silent(process) <= LOST;
    const live = status.processes.some(works);
    panel.querySelector("h2").textContent = live ? "Running" : "Not at its end";
    panel.querySelector("p.renews").textContent = live
      ? "The page renews itself while the study runs."
      : "Nobody is at work. The same command goes on where it was, and this page with it.";
    if (status.page > own && !document.querySelector("dialog[open]")) again(status.page);
  };
  const ask = () => {
    const script = element("script");
    const over = () => { script.remove(); setTimeout(ask, EVERY); };
    script.onload = over;
    script.onerror = () => {
      // It is gone when the study is over, and the page is another.
      if (heard) again(`after ${own}`);
      over();
    };
    script.src = `live.js?${Date.now()}`;
    document.head.append(script);
  };
  ask();
}
