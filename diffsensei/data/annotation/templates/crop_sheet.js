"use strict";
// Everything from outside (ids, captions, keys of pages) enters the page through textContent or setAttribute only.
const sheet = JSON.parse(document.getElementById("data").textContent);
const TYPES = ["clean", "vague", "exaggerated"];
const NOBODY = "\u0000nobody";
const KEYS = [..."123456789abcdefghijklmopqsvwxyz"]; // without n, r, t, u: those are commands
const SVG = "http://www.w3.org/2000/svg";
const STORE = `diffsensei-crop-sheet-${sheet.name}`;
const by = (id) => document.getElementById(id);

const crops = new Map(); // box_id -> crop with its present `who` (text of the id, or NOBODY) and `kind` (type)
for (const [number, page] of sheet.pages.entries()) {
  page.people = [...new Set(page.crops.map((crop) => String(crop.id)))];
  page.ids = new Map(page.crops.map((crop) => [String(crop.id), crop.id]));
  page.reviewed = false;
  for (const crop of page.crops) {
    Object.assign(crop, { page: number, who: String(crop.id), kind: crop.type });
    crops.set(crop.box_id, crop);
  }
}
let current = 0;
let focused = sheet.pages[0].crops[0].box_id;
let unsaved = false;
const past = []; // functions that take one step back

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const pageNow = () => sheet.pages[current];
const isChanged = (crop) => crop.who !== String(crop.id) || crop.kind !== crop.type;
const groupsOf = (page) => [...page.people, NOBODY];
const membersOf = (page, who) => page.crops.filter((crop) => crop.who === who);
const inOrder = (page) => groupsOf(page).flatMap((who) => membersOf(page, who));
const keyOf = (page, who) => (who === NOBODY ? "0" : KEYS[page.people.indexOf(who)] ?? "");
const nameOf = (who) => (who === NOBODY ? "Not a character" : `Person ${who}`);
const say = (text) => { by("said").textContent = text; };

function describe(crop) {
  const place = crop.panel === null ? "" : `, panel ${crop.panel}`;
  return `${nameOf(crop.who)}, ${TYPES[crop.kind]}${place}${isChanged(crop) ? ", changed" : ""}`;
}

function drawCrop(crop) {
  const tag = element("span", { class: "tag" }, crop.panel === null ? "no panel" : `panel ${crop.panel}`);
  if (crop.kind) tag.append(element("b", {}, TYPES[crop.kind]));
  const button = element("button", { type: "button", class: "crop", draggable: "true", "data-box": crop.box_id,
    "aria-label": describe(crop), tabindex: crop.box_id === focused ? "0" : "-1" },
    element("img", { src: crop.image, alt: "", draggable: "false" }), tag);
  button.classList.toggle("changed", isChanged(crop));
  button.addEventListener("focus", () => look(crop.box_id));
  button.addEventListener("pointerenter", () => mark(crop.box_id));
  button.addEventListener("pointerleave", () => mark(focused));
  button.addEventListener("click", () => button.focus());
  button.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", crop.box_id));
  return button;
}

function drawPerson(page, who) {
  const members = membersOf(page, who);
  const heading = element("h2");
  const key = keyOf(page, who);
  if (key) heading.append(element("kbd", {}, key));
  heading.append(nameOf(who));
  const count = members.length === 1 ? "1 crop" : `${members.length} crops`;
  const box = element("div", { class: who === NOBODY ? "person none" : "person", role: "group",
    "aria-label": `${nameOf(who)}, ${count}` },
    element("div", {}, heading, element("p", {}, count)),
    element("div", { class: "crops" }, ...members.map(drawCrop)));
  box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    const crop = crops.get(event.dataTransfer.getData("text/plain"));
    if (crop?.page === current) move(crop, who);
  });
  return box;
}

function rect(bbox, kind, box = "") {
  const made = document.createElementNS(SVG, "rect");
  const [x1, y1, x2, y2] = bbox;
  const sides = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: kind, "data-box": box };
  for (const [key, value] of Object.entries(sides)) made.setAttribute(key, value);
  return made;
}

function draw({ keepFocus = true } = {}) {
  const page = pageNow();
  by("people").replaceChildren(...groupsOf(page).map((who) => drawPerson(page, who)));
  by("page").src = page.image;
  by("page").alt = `Page ${page.key}`;
  const marks = by("marks");
  marks.setAttribute("viewBox", `0 0 ${page.width} ${page.height}`);
  marks.setAttribute("preserveAspectRatio", "xMinYMin meet");
  marks.replaceChildren(...page.frames.map((box) => rect(box, "frame")), ...page.dialogs.map((box) => rect(box, "dialog")),
    ...page.crops.map((crop) => rect(crop.bbox, "character", crop.box_id)));
  by("pages").hidden = sheet.pages.length < 2;
  by("pages").replaceChildren(...sheet.pages.map((other, number) => {
    const button = element("button", { type: "button", "aria-label": `Page ${number + 1}: ${other.key}` }, String(number + 1));
    if (number === current) button.setAttribute("aria-current", "page");
    button.classList.toggle("done", other.reviewed);
    button.addEventListener("click", () => turn(number));
    return button;
  }));
  by("reviewed").checked = page.reviewed;
  by("undo").disabled = past.length === 0;
  const changed = [...crops.values()].filter(isChanged).length;
  const reviewed = sheet.pages.filter((other) => other.reviewed).length;
  by("summary").textContent = `${page.crops.length} crops of ${page.people.filter((who) => membersOf(page, who).length).length} people · `
    + `${changed} changed · ${reviewed} of ${sheet.pages.length} ${sheet.pages.length === 1 ? "page" : "pages"} gone over`;
  if (keepFocus) buttonOf(focused)?.focus();
  mark(focused);
}

const buttonOf = (box) => [...document.querySelectorAll(".crop")].find((button) => button.dataset.box === box);

function look(box) {
  focused = box;
  for (const button of document.querySelectorAll(".crop")) {
    button.tabIndex = button.dataset.box === box ? 0 : -1;
    button.toggleAttribute("aria-current", false);
    if (button.dataset.box === box) button.setAttribute("aria-current", "true");
  }
  mark(box);
}

function mark(box) {
  const crop = crops.get(box);
  for (const shape of document.querySelectorAll("#marks .character")) {
    const other = crops.get(shape.dataset.box);
    shape.classList.toggle("here", shape.dataset.box === box);
    shape.classList.toggle("kin", other.who === crop.who && shape.dataset.box !== box);
  }
  by("details").replaceChildren(element("strong", {}, describe(crop)), element("p", {}, crop.caption));
}

function change(todo, back, words) {
  todo();
  past.push(back);
  unsaved = true;
  keep();
  draw();
  say(words);
}

function move(crop, who) {
  if (crop.who === who) return say(`${nameOf(who)} already`);
  const [before, page] = [crop.who, sheet.pages[crop.page]];
  const following = neighbour(crop, 1) ?? crop.box_id;
  const isNew = who !== NOBODY && !page.people.includes(who);
  change(
    () => { if (isNew) page.people.push(who); crop.who = who; focused = following; },
    () => { crop.who = before; if (isNew) page.people.pop(); current = crop.page; focused = crop.box_id; },
    `moved to ${nameOf(who)}`);
}

function newPerson(crop) {
  const numbers = pageNow().people.filter((who) => /^\d{1,9}$/.test(who)).map(Number);
  move(crop, String(Math.max(-1, ...numbers) + 1));
}

function nextType(crop) {
  const before = crop.kind;
  change(() => { crop.kind = (before + 1) % 3; }, () => { crop.kind = before; current = crop.page; focused = crop.box_id; },
    TYPES[(before + 1) % 3]);
}

function review(value) {
  const page = pageNow();
  const [before, number] = [page.reviewed, current];
  if (before !== value) change(() => { page.reviewed = value; }, () => { page.reviewed = before; current = number; focused = page.crops[0].box_id; },
    value ? "page gone over" : "page not gone over");
}

function undo() {
  const back = past.pop();
  if (!back) return say("nothing to undo");
  back();
  unsaved = true;
  keep();
  draw();
  say("undone");
}

function neighbour(crop, step) {
  const order = inOrder(sheet.pages[crop.page]);
  return order[order.indexOf(crop) + step]?.box_id;
}

function personBeside(crop, step) {
  const page = pageNow();
  const groups = groupsOf(page).filter((who) => membersOf(page, who).length);
  const column = membersOf(page, crop.who).indexOf(crop);
  const members = membersOf(page, groups[groups.indexOf(crop.who) + step]);
  return members[Math.min(column, members.length - 1)]?.box_id;
}

function turn(number) {
  if (number < 0 || number >= sheet.pages.length) return;
  current = number;
  focused = inOrder(pageNow())[0].box_id;
  draw();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || by("help").open) return;
  if (event.target.matches("input:not([type=checkbox])")) return;
  const crop = crops.get(focused);
  const page = pageNow();
  const actions = {
    ArrowRight: () => buttonOf(neighbour(crop, 1))?.focus(),
    ArrowLeft: () => buttonOf(neighbour(crop, -1))?.focus(),
    ArrowDown: () => buttonOf(personBeside(crop, 1))?.focus(),
    ArrowUp: () => buttonOf(personBeside(crop, -1))?.focus(),
    "[": () => turn(current - 1),
    "]": () => turn(current + 1),
    "?": () => by("help").showModal(),
    0: () => move(crop, NOBODY),
    n: () => newPerson(crop),
    t: () => nextType(crop),
    u: undo,
    r: () => review(!page.reviewed),
  };
  const person = page.people[KEYS.indexOf(event.key)];
  const action = Object.hasOwn(actions, event.key) ? actions[event.key] : person !== undefined ? () => move(crop, person) : null;
  if (!action) return;
  event.preventDefault();
  action();
});

const identity = (page, who) => (page.ids.has(who) ? page.ids.get(who) : /^(0|[1-9]\d{0,8})$/.test(who) ? Number(who) : who);

function edits(annotator) {
  const ts = new Date().toISOString();
  return sheet.pages.flatMap((page) => {
    const common = { page_key: page.key, annotator, ts };
    const changed = page.crops.filter(isChanged).map((crop) => (crop.who === NOBODY
      ? { ...common, action: "remove", box_id: crop.box_id, old_box: crop.bbox }
      : { ...common, action: "identity", box_id: crop.box_id, old_id: crop.id, new_id: identity(page, crop.who), type: crop.kind }));
    return page.reviewed ? [{ ...common, action: "review" }, ...changed] : changed;
  });
}

by("download").addEventListener("click", () => {
  const annotator = by("annotator").value.trim();
  by("annotator").setAttribute("aria-invalid", String(!annotator));
  if (!annotator) { by("annotator").focus(); return say("write your name first"); }
  const lines = edits(annotator).map((edit) => `${JSON.stringify(edit)}\n`);
  const address = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
  element("a", { href: address, download: `edits-${sheet.name}.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  unsaved = false;
  say(`${lines.length} edits downloaded`);
});
by("undo").addEventListener("click", undo);
by("ask").addEventListener("click", () => by("help").showModal());
by("help").addEventListener("close", () => buttonOf(focused)?.focus());
by("reviewed").addEventListener("change", (event) => review(event.target.checked));
by("annotator").addEventListener("input", keep);
by("marks").addEventListener("click", (event) => buttonOf(event.target.dataset.box)?.focus());
window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });

// Some browsers give pages from file:// no storage: then work is kept until the tab is closed.
function keep() {
  const kept = { annotator: by("annotator").value, people: sheet.pages.map((page) => page.people),
    reviewed: sheet.pages.map((page) => page.reviewed),
    crops: [...crops.values()].filter(isChanged).map((crop) => [crop.box_id, crop.who, crop.kind]) };
  try { localStorage.setItem(STORE, JSON.stringify(kept)); } catch { /* no storage */ }
}

function recall() {
  let kept = null;
  try { kept = JSON.parse(localStorage.getItem(STORE)); } catch { /* no storage, or not ours */ }
  if (!kept) return;
  by("annotator").value = kept.annotator;
  for (const [number, page] of sheet.pages.entries()) Object.assign(page, { people: kept.people[number], reviewed: kept.reviewed[number] });
  for (const [box, who, kind] of kept.crops) if (crops.has(box)) Object.assign(crops.get(box), { who, kind });
}

recall();
draw();
