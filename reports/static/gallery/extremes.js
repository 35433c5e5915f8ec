/* Panels at both ends of a metric, those on which two methods differ most, and how often what went wrong. */
const extremesView = (() => {
  const { el, find, figure } = dom;
  const COUNT = 8;

  async function item(entry, indices, text) {
    const record = await data.record(entry);
    return el("li", {}, el("a", { href: dom.recordAddress(record.id) },
      el("span", { class: "g-two" }, indices.map((index) => picture.frame(record, index))),
      el("b", {}, text), el("span", { class: "g-under" }, data.panelName(record))),
      scores.chips(record, indices[0], 0));
  }

  async function list(title, note, entries) {
    return el("section", {}, el("h2", {}, title), el("p", { class: "quiet" }, note),
      entries.length
        ? el("ul", { class: "g-extremes" }, await Promise.all(entries.map((entry) => item(...entry))))
        : el("p", { class: "quiet" }, "Nothing was measured."));
  }

  function ranked(value) {
    return data.panels.filter((panel) => !panel.given && Number.isFinite(value(panel)))
      .map((panel) => [panel, value(panel)]).sort((a, b) => a[1] - b[1] || a[0].place - b[0].place);
  }

  async function show(form) {
    const [method, other, metric] = ["method", "other", "metric"].map((name) => Number(form.elements[name].value));
    const { label, up } = data.metrics[metric];
    const named = (index) => data.methods[index].label;
    const value = (index) => (panel) => panel.versions[index].values[metric] ?? NaN;
    const order = ranked(value(method));
    if (!up) order.reverse();
    const count = Math.min(COUNT, Math.floor(order.length / 2));
    const single = ([panel, found]) => [panel, [method, 0], figure(found)];
    const changes = ranked((panel) => Math.abs(value(method)(panel) - value(other)(panel))).reverse()
      .filter(([, change]) => change > 0).slice(0, COUNT);
    const change = ([panel]) => {
      const difference = value(method)(panel) - value(other)(panel);
      return [panel, [method, other], `${difference > 0 ? "+" : ""}${figure(difference)}`];
    };
    const beside = `${named(method)} beside the true panel.`;
    const lists = [
      await list(`Worst ${label}`, beside, order.slice(0, count).map(single)),
      await list(`Best ${label}`, beside, order.slice(order.length - count).reverse().map(single)),
    ];
    if (other !== method) {
      lists.push(await list(`Most changed ${label}`,
        `${named(method)} beside ${named(other)}: the difference, ${up ? "above" : "below"} 0 where ` +
        `${named(method)} is better.`, changes.map(change)));
    }
    find("[data-lists]").replaceChildren(...lists);
  }

  function tagTable() {
    const tags = data.report.tags;
    const methods = data.methods.map((method, index) => [method, index]).filter(([method]) => method.role === "method");
    const drawn = (index) => data.panels.filter((panel) => !panel.given && panel.versions[index].there);
    const rows = methods.map(([method, index]) => {
      const mine = drawn(index);
      return el("tr", {}, el("th", { scope: "row" }, method.label), el("td", {}, String(mine.length)),
        tags.map((tag, place) => {
          if (tag.undecided) return el("td", { class: "quiet", title: tag.undecided }, "–");
          const count = mine.filter((panel) => panel.versions[index].tags.includes(place)).length;
          const where = new URLSearchParams({ method: method.name, state: `tag:${tag.name}` });
          const share = mine.length ? `${Math.round((100 * count) / mine.length)} %` : "–";
          return el("td", {}, count ? el("a", { href: `${dom.galleries}panels.html#${where}` }, share) : share,
            el("span", { class: "g-under" }, String(count)));
        }));
    });
    find("[data-tags]").append(
      el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "text" }, "Method"), el("th", { scope: "col" },
        "Panels"), tags.map((tag) => el("th", { scope: "col", title: tag.rule }, tag.label)))),
      el("tbody", {}, rows));
  }

  function start() {
    const form = find("form.g-tools");
    const methods = data.methods.map((method, index) => [index, method.label, method.role])
      .filter(([, , role]) => role === "method");
    dom.options(form.elements.method, methods);
    dom.options(form.elements.other, methods);
    dom.options(form.elements.metric, data.metrics.map((metric, index) => [index, metric.label]));
    tagTable();
    if (!methods.length || !data.metrics.length) return;
    const fields = { method: data.methods, other: data.methods, metric: data.metrics };
    const usual = { method: data.main, other: methods[Math.max(methods.length - 2, 0)][0], metric: 0 };

    function read() {
      const given = new URLSearchParams(location.hash.slice(1));
      for (const [name, known] of Object.entries(fields)) {
        const place = known.findIndex((one) => one.name === given.get(name));
        const offered = Array.from(form.elements[name].options, (option) => option.value).includes(String(place));
        form.elements[name].value = String(offered ? place : usual[name]);
      }
    }

    form.addEventListener("change", () => {
      const chosen = Object.entries(fields).map(([name, known]) => [name, known[form.elements[name].value].name]);
      location.replace(`#${new URLSearchParams(chosen)}`);
    });
    addEventListener("hashchange", () => { read(); show(form); });
    form.addEventListener("submit", (event) => event.preventDefault());
    read();
    show(form);
  }

  return { start };
})();
