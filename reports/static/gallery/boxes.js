/* Whether the boxes that were asked for lie over the pictures. */
const boxes = (() => {
  const root = document.documentElement;
  const shown = () => !root.classList.contains("g-no-boxes");

  function toggle() {
    root.classList.toggle("g-no-boxes");
    for (const button of document.querySelectorAll("[data-do='boxes']")) {
      button.setAttribute("aria-pressed", String(shown()));
    }
  }

  return { shown, toggle };
})();
