"use strict";
// What the site says about this version: nothing where the version stands alone.
(function () {
  const status = (window.__D || {}).status;
  if (!status) return;
  const root = document.documentElement.dataset.root || "";
  const marks = { better: "▲ ", worse: "▼ ", undecided: "≈ ", untested: "" };

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function link(text, address) {
    const made = element("a", text);
    made.href = root + address;
    return made;
  }

  const home = document.querySelector("[data-home]");
  home.href = root + status.home;
  home.hidden = false;

  const box = document.querySelector("[data-status]");
  const stale = Object.entries(status.staleness.stages);
  if (status.staleness.state !== "fresh") {
    const line = element("p");
    const word = status.staleness.state === "stale" ? "Stale. " : "May be stale. ";
    line.append(element("strong", word), status.staleness.reason);
    box.append(line);
    if (stale.length) {
      const list = element("details");
      list.append(element("summary", stale.length + (stale.length === 1 ? " stage has moved" : " stages have moved")));
      const lines = element("ul");
      for (const [stage, why] of stale) {
        const entry = element("li");
        entry.append(element("code", stage), ": " + why);
        lines.append(entry);
      }
      list.append(lines);
      box.append(list);
    }
  }
  if (status.newer) {
    const line = element("p");
    line.append(element("strong", "Not the newest. "), link(status.newer.label, status.newer.address), " came later.");
    box.append(line);
  }
  box.hidden = !box.childElementCount;

  if (stale.length) {
    const moved = new Set(stale.map(([stage]) => stage));
    for (const row of document.querySelectorAll("[data-stages]")) {
      const mine = row.dataset.stages.split(" ").filter((stage) => moved.has(stage));
      if (!mine.length) continue;
      row.classList.add("stale");
      const mark = row.querySelector(".stale-mark");
      mark.title = mine.map((stage) => stage + ": " + status.staleness.stages[stage]).join("; ");
      mark.hidden = false;
      const reason = row.querySelector(".origin-reason");
      if (reason) {
        reason.textContent = mark.title;
        reason.hidden = false;
      }
    }
    for (const row of document.querySelectorAll("[data-stage]")) {
      if (moved.has(row.dataset.stage)) row.classList.add("stale");
    }
  }

  if (!status.previous) return;
  for (const note of document.querySelectorAll("[data-since]")) {
    note.append(
      "Below each figure the difference to ",
      link(status.previous.label, status.previous.address),
      ", on the same panels: ▲ better, ▼ worse where its interval leaves out 0, ≈ undecided. ",
      link("All differences", status.diff),
      ".",
    );
    note.hidden = false;
  }
  for (const place of document.querySelectorAll("[data-difference]")) {
    const found = status.differences[place.dataset.difference];
    if (!found) continue;
    if (found.verdict === "same") {
      place.textContent = "same as before";
    } else if (found.text) {
      place.textContent = marks[found.verdict] + found.text;
      place.classList.add(found.verdict);
      place.title = found.interval ? "since the version before, interval " + found.interval : found.reason;
    } else {
      place.textContent = found.verdict;
      place.title = found.reason;
    }
    place.hidden = false;
  }
})();
