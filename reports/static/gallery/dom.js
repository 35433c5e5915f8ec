"use strict";
/* Elements from data. Every text becomes a text node or an attribute's value: nothing in the data is ever markup. */
const dom = (() => {
  /* To the folder of the report, in which pictures lie, and to that of this evaluation set's pages and data. */
  const { root, galleries } = document.documentElement.dataset;

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === false || value === null || value === undefined) continue;
      node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  }

  const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  const find = (selector) => document.querySelector(selector);

  function button(label, action, attributes = {}, ...children) {
    const node = el("button", { type: "button", ...attributes }, label, ...children);
    node.addEventListener("click", action);
    return node;
  }

  function options(select, entries) {
    for (const [value, label] of entries) select.append(el("option", { value }, label));
  }

  function figure(value) {
    const text = value.toFixed(Math.abs(value) < 10 ? 3 : 1);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  }

  const recordAddress = (id) => `${galleries}panel.html#${encodeURIComponent(id)}`;
  const pageAddress = (id) => `${galleries}pages.html#${encodeURIComponent(id)}`;

  function named() {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return "";
    }
  }

  /* `draw(entry)` -> element or promise of one, for a few entries at a time: more follow as one scrolls towards them.
     Returns a function that draws until `count` entries are there. */
  function inBatches(container, entries, draw, size) {
    const token = {};
    const end = el("div", { class: "g-end" });
    let done = 0;
    let busy = Promise.resolve();
    container.drawing = token;
    container.replaceChildren(end);

    async function more() {
      if (container.drawing !== token || done >= entries.length) return;
      const batch = entries.slice(done, done + size);
      done += batch.length;
      const drawn = await Promise.all(batch.map(draw));
      if (container.drawing !== token) return;
      end.before(...drawn);
      if (done >= entries.length) watcher.disconnect();
      else {
        // Observed anew, so that an end that is still in sight is reported again.
        watcher.unobserve(end);
        watcher.observe(end);
      }
    }

    const step = () => (busy = busy.then(more));
    const watcher = new IntersectionObserver((seen) => seen.some((s) => s.isIntersecting) && step(), {
      rootMargin: "1000px",
    });
    watcher.observe(end);
    return async (count) => {
      while (done < Math.min(count, entries.length)) await step();
      await busy;
    };
  }

  return { root, galleries, el, svg, find, button, options, figure, recordAddress, pageAddress, named, inBatches };
})();
