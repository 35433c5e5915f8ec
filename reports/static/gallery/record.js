/* Everything about one panel: what was asked, what each method drew, and what that scored. */
const recordView = (() => {
  const { el, find } = dom;
  const percent = (box) => box.map((value) => `${Math.round(100 * value)}`).join(", ");
  let zoomed = null;
  let neighbours = { before: null, after: null };

  function steps(entry) {
    const on = data.panels.filter((panel) => panel.page === entry.page);
    const before = data.panels[entry.place - 1];
    const after = data.panels[entry.place + 1];
    neighbours = { before, after };
    const series = data.report.series[entry.series];
    find("[data-steps]").replaceChildren(
      ...[
        before && el("a", { href: dom.recordAddress(before.id), rel: "prev" }, "← previous"),
        el("a", { href: `${dom.galleries}${series.address}` }, series.name),
        el("a", { href: dom.pageAddress(entry.page) }, data.pageName(entry.page)),
        el("span", { class: "g-siblings" }, "panels ", on.map((panel) =>
          el("a", { href: dom.recordAddress(panel.id), "aria-current": panel.id === entry.id ? "true" : null },
            String(panel.n + 1)))),
        after && el("a", { href: dom.recordAddress(after.id), rel: "next" }, "next →"),
      ].filter(Boolean));
  }

  function asked(record) {
    const rows = record.characters.map((character, slot) => el("tr", {},
      el("th", { scope: "row", class: picture.colour(slot) }, el("i", { class: "g-swatch" }),
        `character ${character.id}`),
      el("td", { class: "text" }, percent(character.box)),
      el("td", { class: "text" }, character.picture
        ? el("span", { class: `g-reference ${picture.colour(slot)}` },
          picture.image(character.picture, `Reference of character ${character.id}`, false))
        : "not shown"),
      el("td", { class: "text" },
        character.kind === "same_panel" ? "from this panel" : "from another panel of the page",
        character.source && el("span", { class: "g-under" }, character.source))));
    const dialog = (box, label, name) => el("tr", {},
      el("th", { scope: "row", class: name }, el("i", { class: "g-swatch" }), label),
      el("td", { class: "text" }, percent(box)), el("td", {}), el("td", { class: "text" }));
    record.dialogs.forEach((box) => rows.push(dialog(box, "dialog", "g-c0")));
    record.unfed.forEach((box) => rows.push(dialog(box, "dialog nobody was given", "g-c0 g-unfed")));
    if (!rows.length) return el("p", { class: "quiet" }, "Neither characters nor dialogs: only the caption.");
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What was asked" },
      el("table", { class: "compact g-table" },
        el("caption", {}, "Boxes are left, top, right, bottom in per cent of the panel"),
        el("thead", {}, el("tr", {}, ["What", "Box", "Reference", "Drawn as the reference"].map((label) =>
          el("th", { scope: "col", class: "text" }, label)))),
        el("tbody", {}, rows)));
  }

  function draws(record) {
    return el("dl", { class: "pairs" },
      el("dt", {}, "Seed of the panel"), el("dd", { class: "digest" }, record.seed),
      Object.entries(record.noise).map(([seed, noise]) => [
        el("dt", {}, `Noise, evaluation seed ${seed}`), el("dd", { class: "digest" }, noise)]));
  }

  async function show() {
    const id = dom.named();
    const list = find("[data-list]");
    const entry = data.byId.get(id) || (id === "" ? data.panels[0] : undefined);
    if (!entry) {
      find("[data-title]").textContent = "No such panel";
      list.replaceChildren(el("p", {}, `This report has no panel ${id}. `,
        el("a", { href: `${dom.galleries}panels.html` }, "All panels")));
      return;
    }
    const record = await data.record(entry);
    const seeds = find("[data-seeds]");
    const seed = Number(seeds.querySelector("select").value || 0);
    seeds.hidden = record.given || data.report.seeds.length < 2;
    steps(entry);
    document.title = `${data.panelName(record)} – ${document.title.split(" – ").pop()}`;
    find("[data-title]").textContent = data.panelName(record);
    find("[data-caption]").textContent = record.caption || "no caption";
    find("[data-facts]").replaceChildren(
      el("span", { class: "digest" }, record.id), ` · ${record.size[0]} × ${record.size[1]} px`,
      record.given ? " · given to every method as it is; neither drawn nor scored" : "");
    const versions = data.methods.map((method, index) => {
      if (record.given && index > 0) return null;
      const open = el("button", { type: "button", class: "g-open", "aria-label": `${method.label}: look closer` },
        picture.frame(record, index, { seed, large: true }));
      open.addEventListener("click", () => lightbox.open(record, index, { seed }));
      return el("figure", {}, open,
        el("figcaption", {}, el("b", {}, method.label), scores.chips(record, index, seed)));
    });
    list.replaceChildren(...[
      el("div", { class: "g-versions g-large" }, versions.filter(Boolean)),
      el("h2", {}, "What was asked"), asked(record),
      el("h2", {}, "Scores"),
      record.given
        ? el("p", { class: "quiet" }, "A given panel counts in no metric.")
        : el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores" },
          scores.table(record, seed)),
      el("h2", {}, "Draws"), draws(record)]);
    zoomed.whole();
  }

  const go = (panel) => { if (panel) location.hash = encodeURIComponent(panel.id); };

  function start(given) {
    zoomed = given;
    const select = find("[data-seeds] select");
    dom.options(select, data.report.seeds.map((seed, place) => [String(place), String(seed)]));
    select.addEventListener("change", show);
    addEventListener("hashchange", show);
    show();
  }

  return { start, keys: { ArrowLeft: () => go(neighbours.before), ArrowRight: () => go(neighbours.after) } };
})();
