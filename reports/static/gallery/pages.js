/* A held-out page composed as manga of one method's panels, beside the page itself. */
const pagesView = (() => {
  const { el, find } = dom;
  const FULL = 700;

  /* The page's frame with something at the box of each panel, leading to its record. */
  async function composed(page, name, draw, under = null) {
    const entries = data.panels.filter((panel) => panel.page === page.id);
    const records = await Promise.all(entries.map(data.record));
    const slots = records.map((record) => {
      const [x1, y1, x2, y2] = page.boxes[record.id];
      const slot = el("a", {
        class: under ? "g-slot g-clear" : "g-slot", href: dom.recordAddress(record.id), draggable: "false",
        "aria-label": `panel ${record.n + 1}, ${record.given ? "given" : name}`,
      }, draw(record));
      Object.assign(slot.style, {
        left: `${100 * x1}%`, top: `${100 * y1}%`, width: `${100 * (x2 - x1)}%`, height: `${100 * (y2 - y1)}%`,
      });
      return slot;
    });
    const node = el("div", { class: "g-frame g-page" }, el("div", { class: "g-sheet" }, under, slots));
    node.style.setProperty("--w", page.size[0]);
    node.style.setProperty("--h", page.size[1]);
    return node;
  }

  const drawnBy = (page, method, large) => composed(page, data.methods[method].label, (record) =>
    picture.frame(record, record.given ? 0 : method, { large }));

  /* The page as it was found, or of its true panels where it is not at hand. */
  async function itself(page, large) {
    if (!page.picture) return [await drawnBy(page, 0, large), "of its true panels"];
    const found = picture.image(page.picture, `The true ${data.pageName(page.id)} of ${page.series}`, large);
    return [await composed(page, data.methods[0].label, picture.overlay, found), "as it is"];
  }

  async function pair(page, method, large) {
    const [truth, what] = await itself(page, large);
    return [
      el("figure", {}, truth, el("figcaption", {}, el("b", {}, "True page"), ` ${what}`)),
      el("figure", {}, await drawnBy(page, method, large),
        el("figcaption", {}, el("b", {}, data.methods[method].label),
          page.annotated ? "" : " on shelves: where its panels stood on the page is not known here")),
    ];
  }

  /* Buttons that choose the method; `choose(number)` is called at once and on every change. */
  function switcher(choose) {
    const node = find("[data-switch]");
    data.methods.forEach((method, index) => {
      const input = el("input", { type: "radio", name: "method", value: index, checked: index === first() });
      input.addEventListener("change", () => choose(index));
      node.append(el("label", {}, input, el("span", {}, index === 0 ? "True panels" : method.label)));
    });
    return first();
  }

  const first = () => Math.max(data.main, 0);

  const heading = (page) => `${page.series}, ${data.pageName(page.id)}`;
  let zoomed = null;
  let method = 0;
  let around = { before: null, after: null };

  async function show() {
    const id = dom.named();
    const place = id === "" ? 0 : data.pages.findIndex((one) => one.id === id);
    const page = data.pages[place];
    const list = find("[data-list]");
    if (!page) {
      find("[data-title]").textContent = "No such page";
      list.replaceChildren(el("p", {}, `This report has no page ${id}. `,
        el("a", { href: `${dom.galleries}series.html` }, "All series")));
      return;
    }
    around = { before: data.pages[place - 1], after: data.pages[place + 1] };
    const series = data.report.series.find((one) => one.name === page.series);
    find("[data-steps]").replaceChildren(...[
      around.before && el("a", { href: dom.pageAddress(around.before.id), rel: "prev" }, "← previous"),
      el("a", { href: `${dom.galleries}${series.address}` }, series.name),
      around.after && el("a", { href: dom.pageAddress(around.after.id), rel: "next" }, "next →"),
    ].filter(Boolean));
    document.title = `${heading(page)} – ${document.title.split(" – ").pop()}`;
    find("[data-title]").textContent = heading(page);
    find("[data-lead]").textContent =
      "The first panel is given to every method; each panel leads to its record. Panels that were not accepted for " +
      "the benchmark stay blank.";
    list.replaceChildren(...await pair(page, method, innerWidth > FULL));
    zoomed.refresh();
  }

  const go = (page) => { if (page) location.hash = encodeURIComponent(page.id); };

  function start(given) {
    zoomed = given;
    method = switcher((index) => { method = index; show(); });
    addEventListener("hashchange", () => { zoomed.whole(); show(); });
    show();
  }

  /* The pages of one series, one below the other. */
  function startSeries() {
    const series = data.report.series[Number(find("main").dataset.series)];
    const mine = data.pages.filter((page) => page.series === series.name);
    const draw = () => dom.inBatches(find("[data-list]"), mine, async (page) => el("section", { class: "g-spread" },
      el("h3", {}, el("a", { href: dom.pageAddress(page.id) }, data.pageName(page.id))),
      await pair(page, method, false)), 4);
    method = switcher((index) => { method = index; draw(); });
    draw();
  }

  return { start, startSeries, keys: { ArrowLeft: () => go(around.before), ArrowRight: () => go(around.after) } };
})();
