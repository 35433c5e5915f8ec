/* What the report's data files hold. They are scripts, as a page opened from a folder may load nothing else. */
const data = (() => {
  const store = (window.__D = window.__D || {});
  const pending = new Map();
  const records = new Map();

  function parts(name) {
    const found = [];
    for (let number = 0; store[`${name}-${number}`]; number++) found.push(...store[`${name}-${number}`]);
    return found;
  }

  const report = store.report;
  const panels = parts("panels").map(([id, series, part, page, n, given, size, versions], place) => ({
    id, series, part, page, n, given: Boolean(given), size, place,
    versions: versions.map(([values, tags, there]) => ({ values, tags, there: Boolean(there) })),
  }));
  const pages = parts("pages");
  const byId = new Map(panels.map((panel) => [panel.id, panel]));

  function load(name) {
    if (!pending.has(name)) {
      pending.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `${dom.galleries}data/${name}.js`;
        script.onload = () => resolve(store[name]);
        script.onerror = () => reject(new Error(`data/${name}.js is missing`));
        document.head.append(script);
      }));
    }
    return pending.get(name);
  }

  /* The record of an entry of `panels`. */
  async function record(entry) {
    if (!records.has(entry.id)) {
      for (const one of await load(report.series[entry.series].parts[entry.part])) records.set(one.id, one);
    }
    return records.get(entry.id);
  }

  const methods = report.methods;
  const metrics = report.metrics;
  const main = methods.map((method) => method.role).lastIndexOf("method");
  const metricPlace = (name) => metrics.findIndex((metric) => metric.name === name);
  /* Ids of pages are hashes: their beginning tells them apart well enough for a heading. */
  const pageName = (id) => `page ${id.slice(0, 8)}`;
  const panelName = (record) => `${record.series}, ${pageName(record.page)}, panel ${record.n + 1}`;

  return { report, panels, pages, byId, record, methods, metrics, main, metricPlace, pageName, panelName };
})();
