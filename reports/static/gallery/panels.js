/* The gallery: cards of panels, filtered by series, method, metric and state, in any order. */
const panelsView = (() => {
  const { el, find } = dom;
  const BATCH = 12;
  const FIELDS = ["series", "method", "state", "metric", "order"];
  let chosen = [];
  let drawUntil = async () => {};

  function states() {
    return [
      ["drawn", "drawn"], ["missing", "not generated"], ["given", "given to every method"], ["clean", "no failure"],
      ...data.report.tags.filter((tag) => !tag.undecided).map((tag) => [`tag:${tag.name}`, tag.label]),
    ];
  }

  const versionsOf = (panel, method) =>
    panel.versions.filter((_, index) => data.methods[index].role === "method" && (method < 0 || index === method));

  function inState(panel, state, method) {
    if (!state) return true;
    if (state === "given") return panel.given;
    if (panel.given) return false;
    const versions = versionsOf(panel, method);
    if (state === "drawn") return versions.every((version) => version.there);
    if (state === "missing") return versions.some((version) => !version.there);
    if (state === "clean") return versions.every((version) => version.there && !version.tags.length);
    const tag = data.report.tags.findIndex((one) => `tag:${one.name}` === state);
    return versions.some((version) => version.tags.includes(tag));
  }

  function select(fields) {
    const method = data.methods.findIndex((one) => one.name === fields.method);
    const metric = data.metricPlace(fields.metric);
    const found = data.panels.filter((panel) =>
      (!fields.series || data.report.series[panel.series].name === fields.series) &&
      inState(panel, fields.state, method));
    if (metric < 0) return found;
    const judged = method < 0 ? data.main : method;
    const value = (panel) => (judged < 0 ? null : panel.versions[judged].values[metric]);
    const up = data.metrics[metric].up === (fields.order === "best");
    return found.filter((panel) => value(panel) !== null)
      .sort((a, b) => (up ? value(b) - value(a) : value(a) - value(b)) || a.place - b.place);
  }

  async function card(entry, method, metric) {
    const record = await data.record(entry);
    const indices = data.methods.map((_, index) => index)
      .filter((index) => index === 0 || (!record.given && (method < 0 || index === method)));
    const versions = indices.map((index) => {
      const open = el("button", {
        type: "button", class: "g-open", "aria-label": `${data.methods[index].label}: look closer`,
      }, picture.frame(record, index));
      open.addEventListener("click", () => lightbox.open(record, index, { neighbours: chosen }));
      return el("figure", {}, open, el("figcaption", {}, el("b", {}, data.methods[index].label),
        scores.list(record, index, 0, metric), scores.chips(record, index, 0)));
    });
    return el("article", { class: record.given ? "g-card g-given" : "g-card", tabindex: "-1", "data-id": record.id },
      el("header", {},
        el("h2", {}, el("a", { href: dom.recordAddress(record.id) }, data.panelName(record))),
        el("span", { class: "small quiet" }, `${record.size[0]} × ${record.size[1]} px`)),
      el("p", { class: record.caption ? "g-caption" : "g-caption quiet" }, record.caption || "no caption"),
      el("div", { class: "g-body" },
        el("div", { class: versions.length === 2 ? "g-versions g-few" : "g-versions" }, versions,
          record.given && el("p", { class: "small quiet" },
            "Given to every method as it is; neither drawn nor scored.")),
        record.characters.length > 0 && el("div", { class: "g-references" },
          el("h3", {}, "References"), picture.references(record))));
  }

  function start(zoomed) {
    const form = find("form.g-tools");
    const list = find("[data-list]");
    const fill = (name, entries) => dom.options(form.elements[name], entries);
    fill("series", data.report.series.map((one) => [one.name, one.name]));
    fill("method", data.methods.filter((one) => one.role === "method").map((one) => [one.name, one.label]));
    fill("state", states());
    fill("metric", data.metrics.map((one) => [one.name, one.label]));

    function read() {
      const given = new URLSearchParams(location.hash.slice(1));
      for (const name of FIELDS) {
        const field = form.elements[name];
        const value = given.get(name) ?? "";
        field.value = Array.from(field.options, (option) => option.value).includes(value)
          ? value : field.options[0].value;
      }
    }

    function show() {
      const fields = Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value]));
      form.elements.order.disabled = !fields.metric;
      const method = data.methods.findIndex((one) => one.name === fields.method);
      const metric = data.metricPlace(fields.metric);
      chosen = select(fields);
      const judged = data.methods[method < 0 ? data.main : method];
      find("[data-count]").textContent = `${chosen.length} of ${data.panels.length} panels` +
        (metric >= 0 && judged ? `, by ${data.metrics[metric].label} of ${judged.label}` : "");
      drawUntil = dom.inBatches(list, chosen, (entry) => card(entry, method, metric), BATCH);
      if (!chosen.length) list.replaceChildren(el("p", { class: "quiet" }, "No panel is in this state."));
    }

    form.addEventListener("change", () => {
      const fields = new URLSearchParams();
      for (const name of FIELDS) {
        const field = form.elements[name];
        if (field.value && !field.disabled) fields.set(name, field.value);
      }
      location.replace(`#${fields}`);
    });
    addEventListener("hashchange", () => { read(); zoomed.whole(); show(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    read();
    show();
  }

  /* To the next card, from the one in focus or the first in sight. */
  async function step(direction) {
    const cards = () => Array.from(document.querySelectorAll(".g-card"));
    const current = cards().indexOf(document.activeElement.closest(".g-card"));
    const below = cards().findIndex((card) => card.getBoundingClientRect().bottom > 140);
    const wanted = current >= 0 ? current + direction : below;
    await drawUntil(wanted + 1);
    const next = cards()[wanted];
    if (next) {
      next.focus({ preventScroll: true });
      next.scrollIntoView({ block: "start" });
    }
  }

  return { start, keys: { j: () => step(1), k: () => step(-1) } };
})();
