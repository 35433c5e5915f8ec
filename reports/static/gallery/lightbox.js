/* A drawing beside the true panel, as large as the window: other methods left and right, other panels up and down. */
const lightbox = (() => {
  const { el, button } = dom;
  let box = null;
  let parts = null;
  let zoomed = null;
  let shown = null;

  function build() {
    parts = {
      title: el("h2", { id: "g-lightbox-title" }),
      caption: el("p", { class: "g-caption" }),
      pictures: el("div", { class: "g-pair" }),
      output: el("output", { "aria-live": "polite" }),
      link: el("a", {}, "everything about this panel"),
    };
    box = el("dialog", { class: "g-lightbox", "aria-labelledby": "g-lightbox-title" },
      el("div", { class: "g-lightbox-bar" },
        parts.title,
        el("span", { class: "g-zoom" },
          button("", () => zoomed.farther(), { "aria-label": "Zoom out" }, el("span", { "aria-hidden": "true" }, "−")),
          parts.output,
          button("", () => zoomed.closer(), { "aria-label": "Zoom in" }, el("span", { "aria-hidden": "true" }, "+")),
          button("Whole", () => zoomed.whole())),
        button("Boxes", boxes.toggle, { "data-do": "boxes", "aria-pressed": String(boxes.shown()) }),
        button("Close", () => box.close(), { class: "g-close" })),
      parts.pictures,
      el("div", { class: "g-lightbox-foot" },
        el("div", { class: "g-turns" },
          button("← method", () => turn(-1)), button("method →", () => turn(1)),
          button("↑ panel", () => walk(-1)), button("panel ↓", () => walk(1)), parts.link),
        parts.caption));
    box.addEventListener("keydown", keys);
    box.addEventListener("close", () => document.documentElement.classList.remove("g-covered"));
    document.body.append(box);
    zoomed = zoom.attach(parts.pictures, { outputs: () => [parts.output], wheel: true });
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inside = zoomed.scale > 1;
    const acts = {
      ArrowLeft: () => (inside ? zoomed.move(-0.2, 0) : turn(-1)),
      ArrowRight: () => (inside ? zoomed.move(0.2, 0) : turn(1)),
      ArrowUp: () => (inside ? zoomed.move(0, -0.2) : walk(-1)),
      ArrowDown: () => (inside ? zoomed.move(0, 0.2) : walk(1)),
      "+": () => zoomed.closer(), "=": () => zoomed.closer(), "-": () => zoomed.farther(), 0: () => zoomed.whole(),
    };
    if (acts[event.key]) {
      event.preventDefault();
      event.stopPropagation();
      acts[event.key]();
    }
  }

  function turn(direction) {
    const count = data.methods.length;
    shown.method = (shown.method + direction + count) % count;
    draw();
  }

  async function walk(direction) {
    const next = shown.neighbours[shown.neighbours.findIndex((entry) => entry.id === shown.record.id) + direction];
    if (!next) return;
    shown.record = await data.record(next);
    zoomed.whole();
    draw();
  }

  function draw() {
    const { record, method, seed } = shown;
    const side = (index) => el("figure", {},
      picture.frame(record, index, { seed, large: true }),
      el("figcaption", {}, el("b", {}, data.methods[index].label), scores.list(record, index, seed),
        scores.chips(record, index, seed)));
    parts.title.textContent = data.panelName(record);
    parts.caption.textContent = record.caption || "no caption";
    parts.link.setAttribute("href", dom.recordAddress(record.id));
    parts.pictures.replaceChildren(...(method === 0 ? [side(0)] : [side(0), side(method)]));
    parts.pictures.classList.toggle("g-alone", method === 0);
    zoomed.refresh();
  }

  /* `neighbours`: entries of `data.panels` that the arrows lead through. */
  function open(record, method, { seed = 0, neighbours = data.panels } = {}) {
    if (!box) build();
    shown = { record, method, seed, neighbours };
    zoomed.whole();
    draw();
    document.documentElement.classList.add("g-covered");
    if (!box.open) box.showModal();
  }

  return { open };
})();
