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

  // From the card in focus; without one, from the first card below the bar.
  function step(direction) {
    const visible = cards.filter((card) => !card.hidden);
    const current = visible.indexOf(document.activeElement.closest(".card"));
    const below = visible.findIndex((card) => card.getBoundingClientRect().bottom > 90);
    const next = visible[current >= 0 ? current + direction : below];
    if (next) {
      next.focus({ preventScroll: true });
      next.scrollIntoView({ block: "start" });
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
