"use strict";
(function () {
  const root = document.documentElement;
  const boxes = document.querySelector("[data-toggle='boxes']");
  const series = document.querySelector("[data-filter='series']");
  const count = document.querySelector("[data-count]");
  const cards = Array.from(document.querySelectorAll(".card"));

  function toggleBoxes() {
    const hidden = root.classList.toggle("no-boxes");
    boxes.setAttribute("aria-pressed", String(!hidden));
  }

  function filterSeries() {
    let shown = 0;
    for (const card of cards) {
      card.hidden = series.value !== "" && card.dataset.series !== series.value;
      shown += card.hidden ? 0 : 1;
    }
    if (count) count.textContent = String(shown);
  }

  function step(direction) {
    const visible = cards.filter((card) => !card.hidden);
    const tops = visible.map((card) => card.getBoundingClientRect().top);
    const edge = 90;
    const next = direction > 0
      ? visible[tops.findIndex((top) => top > edge)]
      : visible[tops.filter((top) => top < edge - 10).length - 1];
    if (next) {
      next.scrollIntoView({ block: "start" });
      next.focus({ preventScroll: true });
    }
  }

  if (boxes) boxes.addEventListener("click", toggleBoxes);
  if (series) series.addEventListener("change", filterSeries);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) return;
    if (event.key === "b" && boxes) toggleBoxes();
    else if (event.key === "j" && cards.length) step(1);
    else if (event.key === "k" && cards.length) step(-1);
  });
})();
