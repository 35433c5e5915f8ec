/* Which page this is, its buttons and its keys. */
(() => {
  const main = document.querySelector("main");
  const zoomed = zoom.attach(main, { outputs: () => main.querySelectorAll("[data-zoom]") });
  const acts = { boxes: boxes.toggle, in: zoomed.closer, out: zoomed.farther, whole: zoomed.whole };
  for (const button of main.querySelectorAll("[data-do]")) button.addEventListener("click", acts[button.dataset.do]);

  const views = {
    panels: panelsView, record: recordView, page: pagesView, extremes: extremesView,
    series: { start: pagesView.startSeries },
  };
  const view = views[main.dataset.view];
  const keys = { b: boxes.toggle, "+": zoomed.closer, "=": zoomed.closer, "-": zoomed.farther, 0: zoomed.whole,
    ...view.keys };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const covered = document.querySelector("dialog[open]");
    const act = covered && event.key !== "b" ? null : keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  view.start(zoomed);
})();
