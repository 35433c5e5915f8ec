/* A picture with the boxes that were asked for, in a frame of the panel's shape: it takes its place before it loads. */
const picture = (() => {
  const { el, svg } = dom;
  const NUM_COLOURS = 4;
  const colour = (slot) => `g-c${(slot % NUM_COLOURS) + 1}`;

  function files([name, width, height, kind]) {
    if (!/^[0-9a-f]+$/.test(name)) throw new Error("no name of a picture");
    const base = `${dom.root}assets/${name}`;
    const scaled = (side) => {
      const factor = Math.min(1, side / Math.max(width, height));
      return { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) };
    };
    if (kind === "pixels") return { thumb: { src: `${base}.webp`, width, height } };
    const thumb = { src: `${base}-256.webp`, ...scaled(256) };
    return kind === "view" ? { thumb, view: { src: `${base}-768.webp`, ...scaled(768) } } : { thumb };
  }

  function image(stored, alt, large, className) {
    const { thumb, view } = files(stored);
    const shown = large && view ? view : thumb;
    return el("img", {
      ...shown, alt, loading: "lazy", decoding: "async", draggable: "false",
      class: [className, stored[3] === "pixels" ? "g-pixels" : ""].join(" ").trim() || null,
      "data-view": !large && view ? view.src : null,
    });
  }

  function rect([x1, y1, x2, y2], name) {
    const place = { x: x1 * 1000, y: y1 * 1000, width: (x2 - x1) * 1000, height: (y2 - y1) * 1000 };
    return [svg("rect", { ...place, class: "g-casing" }), svg("rect", { ...place, class: `g-box ${name}` })];
  }

  function overlay(record) {
    return svg("svg", {
      class: "g-overlay", viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true",
    },
      record.characters.map((character, slot) => rect(character.box, colour(slot))),
      record.dialogs.map((box) => rect(box, "g-c0")),
      record.unfed.map((box) => rect(box, "g-c0 g-unfed")),
    );
  }

  /* Why there is no picture to see. */
  function absence(record, drawn) {
    if (record.given) return "given to it as it is";
    return drawn.there ? "not shown" : "not generated";
  }

  /* The frame of a drawing; `method` is a number of `data.methods`. */
  function frame(record, method, { seed = 0, large = false } = {}) {
    const [width, height] = record.size;
    const drawn = record.drawn[method][seed] || record.drawn[method][0];
    const alt = `${data.methods[method].label}: ${data.panelName(record)}`;
    const inside = drawn.picture
      ? image(drawn.picture, alt, large)
      : el("span", { class: "g-absent" }, absence(record, drawn));
    const node = el("span", { class: "g-frame" }, el("span", { class: "g-sheet" }, inside, overlay(record)));
    node.style.setProperty("--w", width);
    node.style.setProperty("--h", height);
    return node;
  }

  /* The pictures of the requested characters that every method was given. */
  function references(record) {
    return record.characters.map((character, slot) =>
      el("figure", { class: `g-reference ${colour(slot)}` },
        character.picture && image(character.picture, `Reference of character ${character.id}`, false),
        el("figcaption", {},
          el("b", {}, `character ${character.id}`),
          character.kind === "same_panel" ? "from this panel" : "from another panel")));
  }

  return { colour, image, overlay, frame, references };
})();
