/* One zoom for all pictures of a container: the same part of each, whatever its size on screen. */
const zoom = (() => {
  const MAX = 12;
  const STEP = 1.4;
  const SHARP = 1.3;

  /* `outputs`: elements that say how far in we are. Plain wheels zoom where `wheel` is set, else only with ctrl. */
  function attach(container, { outputs = () => [], wheel = false } = {}) {
    const state = { scale: 1, x: 0, y: 0 };
    let drag = null;

    function show() {
      container.style.setProperty("--zoom", state.scale);
      container.style.setProperty("--x", `${100 * state.x}%`);
      container.style.setProperty("--y", `${100 * state.y}%`);
      container.classList.toggle("g-zoomed", state.scale > 1);
      for (const output of outputs()) output.textContent = `${Math.round(100 * state.scale)} %`;
      if (state.scale > SHARP) {
        for (const image of container.querySelectorAll("img[data-view]")) {
          image.src = image.dataset.view;
          image.removeAttribute("data-view");
        }
      }
    }

    function set(scale, x, y) {
      const clamp = (value) => Math.min(0, Math.max(1 - state.scale, value));
      state.scale = Math.min(MAX, Math.max(1, scale));
      state.x = clamp(x);
      state.y = clamp(y);
      show();
    }

    /* Keeps the point at (x, y), in parts of a frame, where it is. */
    function by(factor, x = 0.5, y = 0.5) {
      const scale = Math.min(MAX, Math.max(1, state.scale * factor));
      const grown = scale / state.scale;
      set(scale, x - (x - state.x) * grown, y - (y - state.y) * grown);
    }

    container.addEventListener("wheel", (event) => {
      const frame = event.target.closest(".g-frame");
      if (!frame || !(wheel || event.ctrlKey)) return;
      event.preventDefault();
      const place = frame.getBoundingClientRect();
      by(event.deltaY < 0 ? STEP : 1 / STEP,
        (event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
    }, { passive: false });

    container.addEventListener("pointerdown", (event) => {
      const frame = event.target.closest(".g-frame");
      if (frame && state.scale > 1 && event.button === 0) {
        drag = { frame, x: event.clientX, y: event.clientY, from: { ...state }, moved: false };
      }
    });
    container.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const place = drag.frame.getBoundingClientRect();
      const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
      drag.moved ||= Math.hypot(x, y) > 4;
      if (drag.moved) set(state.scale, drag.from.x + x / place.width, drag.from.y + y / place.height);
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      container.addEventListener(name, () => {
        const moved = drag && drag.moved;
        drag = null;
        // The click that ends a drag opens nothing.
        if (moved) {
          const stop = (click) => { click.preventDefault(); click.stopPropagation(); };
          container.addEventListener("click", stop, { capture: true, once: true });
          setTimeout(() => container.removeEventListener("click", stop, { capture: true }), 0);
        }
      });
    }

    show();
    return {
      closer: () => by(STEP),
      farther: () => by(1 / STEP),
      whole: () => set(1, 0, 0),
      move: (x, y) => set(state.scale, state.x - x / state.scale, state.y - y / state.scale),
      get scale() { return state.scale; },
      refresh: show,
    };
  }

  return { attach };
})();
