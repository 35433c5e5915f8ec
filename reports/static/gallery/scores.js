/* What a drawing scored: short for captions, and in full as a table. */
const scores = (() => {
  const { el, figure } = dom;
  const SHORT = ["clip", "dino_i", "dino_c", "dialog_f1"];
  const mean = (entry) => {
    const values = [entry].flat().filter((value) => typeof value === "number");
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  };
  const drawing = (record, method, seed) => record.drawn[method][seed] || record.drawn[method][0];

  function dialogs([matched, extra, missed]) {
    const asked = matched + missed;
    if (!asked && !extra) return "none, as asked";
    return `${matched} of ${asked}${extra ? `, ${extra} extra` : ""}`;
  }

  /* The headline metrics, and `also`: the number of one more. */
  function list(record, method, seed, also = -1) {
    const drawn = drawing(record, method, seed);
    const places = SHORT.map(data.metricPlace).filter((place) => place >= 0);
    if (also >= 0 && !places.includes(also)) places.push(also);
    const entries = [];
    for (const place of places) {
      const metric = data.metrics[place];
      const counted = metric.name === "dialog_f1" && drawn.dialogs;
      const value = mean(drawn.scores[place]);
      if (value === null && !counted) continue;
      entries.push(el("dt", {}, counted ? "Dialogs" : metric.label),
        el("dd", { class: place === also ? "g-chosen" : null }, counted ? dialogs(drawn.dialogs) : figure(value)));
    }
    return entries.length ? el("dl", { class: "g-scores" }, entries) : null;
  }

  function chips(record, method, seed) {
    const names = drawing(record, method, seed).tags;
    if (!names.length) return null;
    return el("ul", { class: "g-chips", "aria-label": "Failures" },
      names.map((name) => {
        const tag = data.report.tags.find((one) => one.name === name);
        return el("li", { title: tag.rule }, tag.label);
      }));
  }

  function cell(entry, slot) {
    const value = slot === undefined ? entry : [entry].flat()[slot];
    if (Array.isArray(value)) return figure(mean(value) ?? NaN).replace("NaN", "–");
    if (typeof value === "number") return figure(value);
    return el("span", { class: "g-reason" }, typeof value === "string" ? value : "–");
  }

  function row(label, cells, attributes = {}) {
    return el("tr", attributes, el("th", { scope: "row" }, label), cells.map((one) => el("td", {}, one)));
  }

  /* Every metric of every method, per character where there are several, with the reasons for what is missing. */
  function table(record, seed) {
    const drawn = data.methods.map((_, method) => drawing(record, method, seed));
    const several = record.characters.length > 1;
    const rows = [];
    data.metrics.forEach((metric, place) => {
      const entries = drawn.map((one) => one.scores[place]);
      if (entries.every((entry) => entry === null)) return;
      const label = [metric.label, " ", el("span", { "aria-hidden": "true" }, metric.up ? "↑" : "↓"),
        el("span", { class: "g-unit" }, metric.unit)];
      const inSlots = several && entries.some(Array.isArray);
      rows.push(row(label, entries.map((entry) =>
        Array.isArray(entry) && mean(entry) === null ? cell(entry, 0) : cell(entry)), { title: metric.definition }));
      if (inSlots) {
        record.characters.forEach((character, slot) => {
          const name = el("span", { class: picture.colour(slot) }, el("i", { class: "g-swatch" }),
            `character ${character.id}`);
          rows.push(row(name, entries.map((entry) => cell(entry, slot)), { class: "g-part" }));
        });
      }
    });
    if (drawn.some((one) => one.dialogs)) {
      rows.push(row("Dialogs found", drawn.map((one) => (one.dialogs ? dialogs(one.dialogs) : "–"))));
    }
    for (const iou of Object.keys(drawn[0].ladder)) {
      // The reason stands once, at Dialog F1 itself.
      if (drawn.every((one) => typeof one.ladder[iou] !== "number")) continue;
      rows.push(row(`Dialog F1 at IoU ${iou}`, drawn.map((one) => cell(one.ladder[iou] ?? null)), { class: "g-part" }));
    }
    return el("table", { class: "compact g-table" },
      el("caption", {}, "All measurements of this panel; an entry in words is the reason that there is no figure"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "text" }, "Metric"),
        data.methods.map((method) => el("th", { scope: "col" }, method.label)))),
      el("tbody", {}, rows));
  }

  return { list, chips, table };
})();
