"use strict";
// The story is the only state that matters: every control changes it, then the page is shown again from it.

const $ = (id) => document.getElementById(id);
const emptyPanel = () => ({ caption: "", characters: [], dialogs: [] });
const emptyPage = () => ({ width: 1240, height: 1754, panels: [emptyPanel()] });

let story = { characters: {}, reading: "rtl", paper: "grey", seed: 0, pages: [emptyPage()] };
const images = {}; // name -> data URL
let places = []; // of the current page, from the server: boxes for all that has none of its own
let current = 0; // page
let chosen = { panel: 0, kind: "panel", index: 0 };

const page = () => story.pages[current];
const panel = () => page().panels[chosen.panel];
const made = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// ---------------------------------------------------------------- talking to the server

async function ask(path, message) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(message),
  });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function tell(line, wrong = false) {
  $("state").textContent = line;
  $("state").classList.toggle("wrong", wrong);
}

let asked = 0;
async function refresh() {
  const number = ++asked;
  try {
    const answer = await ask("/place", { story });
    if (number !== asked) return; // a later change is on its way
    places = answer.pages[current];
    tell("");
  } catch (error) {
    if (number === asked) tell(error.message, true);
    return;
  }
  show();
}

async function draw() {
  const began = Date.now();
  const clock = setInterval(() => tell(`Drawing for ${Math.round((Date.now() - began) / 1000)} s`), 500);
  $("draw").disabled = true;
  tell("Drawing");
  try {
    const files = {};
    for (const name of Object.keys(story.characters)) {
      if (images[name]) files[name] = images[name].split(",", 2)[1];
    }
    const answer = await ask("/draw", {
      story,
      images: files,
      steps: Number($("steps").value),
      lettering: $("lettering").checked,
      bubbles: $("bubbles").checked,
    });
    $("warnings").replaceChildren(...answer.warnings.map((line) => made("li", { textContent: line })));
    $("result").replaceChildren(
      ...answer.pages.flatMap((data, index) => {
        const source = `data:image/png;base64,${data}`;
        const name = `page-${String(index + 1).padStart(3, "0")}.png`;
        return [
          made("img", { src: source, alt: `drawn page ${index + 1}` }),
          made("a", { href: source, download: name, textContent: `Save ${name}` }),
        ];
      }),
    );
    tell(`Drawn in ${Math.round((Date.now() - began) / 1000)} s`);
  } catch (error) {
    tell(error.message, true);
  } finally {
    clearInterval(clock);
    $("draw").disabled = false;
  }
}

// ---------------------------------------------------------------- boxes

const item = () => {
  if (chosen.kind === "panel") return panel();
  return panel()[chosen.kind === "character" ? "characters" : "dialogs"][chosen.index];
};

const boxOf = ({ panel: number, kind, index }) => {
  const place = places[number];
  if (!place) return null;
  return kind === "panel" ? place.box : place[kind === "character" ? "characters" : "dialogs"][index];
};

function setBox(box) {
  const least = 0.03;
  const width = Math.min(Math.max(box[2] - box[0], least), 1);
  const height = Math.min(Math.max(box[3] - box[1], least), 1);
  const x = Math.min(Math.max(box[0], 0), 1 - width);
  const y = Math.min(Math.max(box[1], 0), 1 - height);
  const round = (value) => Math.round(value * 1000) / 1000;
  const kept = [round(x), round(y), round(x + width), round(y + height)];
  if (chosen.kind === "panel") {
    // A page's panels have boxes all or none.
    page().panels.forEach((other, number) => (other.box ??= places[number].box));
  }
  item().box = kept;
  const place = places[chosen.panel];
  if (chosen.kind === "panel") place.box = kept;
  else place[chosen.kind === "character" ? "characters" : "dialogs"][chosen.index] = kept;
}

function boxElement(where, label, parent) {
  const box = boxOf(where);
  const element = made("div", { className: `box ${where.kind}`, tabIndex: 0, textContent: label });
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", `${where.kind} ${where.index + 1} of panel ${where.panel + 1}`);
  const same = () => chosen.panel === where.panel && chosen.kind === where.kind && chosen.index === where.index;
  if (same()) element.classList.add("chosen");
  const corner = made("span", { className: "corner" });
  element.append(corner);
  const position = (b) => {
    element.style.left = `${b[0] * 100}%`;
    element.style.top = `${b[1] * 100}%`;
    element.style.width = `${(b[2] - b[0]) * 100}%`;
    element.style.height = `${(b[3] - b[1]) * 100}%`;
  };
  position(box);
  element.addEventListener("focus", () => {
    if (same()) return;
    chosen = where;
    document.querySelectorAll(".box.chosen").forEach((other) => other.classList.remove("chosen"));
    element.classList.add("chosen");
    showNumbers();
    showPanel();
  });
  element.addEventListener("pointerdown", (down) => {
    down.stopPropagation();
    element.focus();
    asked++; // an answer that is still on its way would replace the box under the pointer
    const area = parent.getBoundingClientRect();
    const from = boxOf(where);
    const sizing = down.target === corner;
    let moved = false;
    element.setPointerCapture(down.pointerId);
    const move = (event) => {
      const dx = (event.clientX - down.clientX) / area.width;
      const dy = (event.clientY - down.clientY) / area.height;
      moved ||= Math.abs(event.clientX - down.clientX) + Math.abs(event.clientY - down.clientY) > 3;
      if (!moved) return;
      setBox(sizing ? [from[0], from[1], Math.min(from[2] + dx, 1), Math.min(from[3] + dy, 1)]
        : [from[0] + dx, from[1] + dy, from[2] + dx, from[3] + dy]);
      position(boxOf(where));
      showNumbers();
    };
    const end = () => {
      element.removeEventListener("pointermove", move);
      refresh();
    };
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", end, { once: true });
    element.addEventListener("pointercancel", end, { once: true });
  });
  element.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step || event.target !== element) return;
    event.preventDefault();
    event.stopPropagation();
    const [dx, dy] = step.map((value) => value * 0.01);
    const b = boxOf(where);
    setBox(event.shiftKey ? [b[0], b[1], b[2] + dx, b[3] + dy] : [b[0] + dx, b[1] + dy, b[2] + dx, b[3] + dy]);
    position(boxOf(where));
    showNumbers();
  });
  parent.append(element);
  return element;
}

// ---------------------------------------------------------------- showing

function show() {
  $("pages").replaceChildren(
    ...story.pages.map((_, index) => {
      const button = made("button", { type: "button", textContent: `Page ${index + 1}` });
      button.setAttribute("aria-pressed", String(index === current));
      button.addEventListener("click", () => goTo(index));
      return button;
    }),
  );
  $("remove-page").disabled = story.pages.length === 1;
  const values = { reading: story.reading, paper: story.paper, seed: story.seed, width: page().width, height: page().height };
  for (const [id, value] of Object.entries(values)) {
    if ($(id) !== document.activeElement) $(id).value = value; // somebody may be typing
  }
  showCast();
  showSheet();
  showNumbers();
  showPanel();
}

function showCast() {
  $("cast").replaceChildren(
    ...Object.keys(story.characters).map((name) => {
      const input = made("input", { value: name, ariaLabel: `name of ${name}` });
      input.addEventListener("change", () => rename(name, input.value.trim()));
      const remove = made("button", { type: "button", textContent: "×", ariaLabel: `remove ${name}` });
      remove.addEventListener("click", () => {
        delete story.characters[name];
        delete images[name];
        for (const each of story.pages) {
          for (const other of each.panels) other.characters = other.characters.filter((c) => c.name !== name);
        }
        chosen = { panel: chosen.panel, kind: "panel", index: 0 };
        refresh();
      });
      const picture = images[name] ? made("img", { src: images[name], alt: "" }) : made("span", { textContent: "no image" });
      return made("li", {}, picture, input, remove);
    }),
  );
}

function rename(from, to) {
  if (!to || to === from || Object.hasOwn(story.characters, to)) return show();
  story.characters = Object.fromEntries(
    Object.entries(story.characters).map(([name, path]) => [name === from ? to : name, path]),
  );
  if (images[from]) images[to] = images[from];
  delete images[from];
  for (const each of story.pages) {
    for (const other of each.panels) for (const c of other.characters) if (c.name === from) c.name = to;
  }
  refresh();
}

function showSheet() {
  const sheet = $("sheet");
  const focused = sheet.contains(document.activeElement);
  sheet.replaceChildren();
  sheet.style.aspectRatio = `${page().width} / ${page().height}`;
  page().panels.forEach((each, number) => {
    if (!places[number]) return;
    const element = boxElement({ panel: number, kind: "panel", index: 0 }, String(number + 1), sheet);
    each.characters.forEach((c, index) => boxElement({ panel: number, kind: "character", index }, c.name, element));
    each.dialogs.forEach((d, index) => boxElement({ panel: number, kind: "dialog", index }, d.text, element));
  });
  if (focused) sheet.querySelector(".chosen")?.focus();
}

function showNumbers() {
  const box = boxOf(chosen);
  $("numbers").disabled = !box;
  if (!box) return;
  const what = chosen.kind === "panel" ? `panel ${chosen.panel + 1}` : `${chosen.kind} ${chosen.index + 1} of panel ${chosen.panel + 1}`;
  $("numbers").querySelector("legend").textContent = `Box of ${what}`;
  for (const input of $("numbers").querySelectorAll("input")) {
    input.value = Math.round(box[Number(input.dataset.side)] * 1000) / 1000;
  }
}

function showPanel() {
  const each = panel();
  const typing = document.activeElement.closest("#panel") && document.activeElement;
  const hint = (key) => {
    const input = made("input", { id: key, type: "number", min: 0.2, max: 5, step: 0.1, value: each[key] ?? "" });
    input.addEventListener("input", () => {
      if (input.value === "") delete each[key];
      else each[key] = Number(input.value);
    });
    input.addEventListener("change", refresh);
    return input;
  };
  const caption = made("textarea", { id: "caption", value: each.caption });
  caption.addEventListener("input", () => (each.caption = caption.value));

  const people = each.characters.map((character, index) => {
    const remove = made("button", { type: "button", textContent: "×", ariaLabel: `take ${character.name} out` });
    remove.addEventListener("click", () => take(each.characters, index));
    return made("span", { className: "row" }, character.name, remove);
  });
  const add = made("select", { id: "add-character", ariaLabel: "Add a character to the panel" },
    made("option", { value: "", textContent: "Add a character" }),
    ...Object.keys(story.characters).map((name) => made("option", { value: name, textContent: name })));
  add.addEventListener("change", () => {
    if (!add.value) return;
    each.characters.push({ name: add.value });
    refresh();
  });

  const dialogs = each.dialogs.map((dialog, index) => {
    const text = made("textarea", { id: `dialog-${index}`, value: dialog.text, ariaLabel: `text of dialog ${index + 1}` });
    text.addEventListener("input", () => (dialog.text = text.value));
    text.addEventListener("change", showSheet);
    const remove = made("button", { type: "button", textContent: "×", ariaLabel: `remove dialog ${index + 1}` });
    remove.addEventListener("click", () => take(each.dialogs, index));
    return made("div", { className: "dialog-row" }, text, remove);
  });
  const addDialog = made("button", { type: "button", id: "add-dialog", textContent: "Add dialog" });
  addDialog.addEventListener("click", () => {
    each.dialogs.push({ text: "" });
    refresh();
  });

  const shift = (step, label) => {
    const to = chosen.panel + step;
    const button = made("button", { type: "button", textContent: label, disabled: to < 0 || to >= page().panels.length });
    button.addEventListener("click", () => {
      const panels = page().panels;
      [panels[chosen.panel], panels[to]] = [panels[to], panels[chosen.panel]];
      if (panels[to].box) [panels[to].box, panels[chosen.panel].box] = [panels[chosen.panel].box, panels[to].box];
      chosen = { panel: to, kind: "panel", index: 0 };
      refresh();
    });
    return button;
  };
  const remove = made("button", { type: "button", textContent: "Remove panel", disabled: page().panels.length === 1 });
  remove.addEventListener("click", () => {
    page().panels.splice(chosen.panel, 1);
    chosen = { panel: Math.max(chosen.panel - 1, 0), kind: "panel", index: 0 };
    refresh();
  });

  $("panel-title").textContent = `Panel ${chosen.panel + 1}`;
  $("panel").replaceChildren(
    made("label", { className: "wide" }, "Caption", caption),
    made("div", { className: "row" }, ...people, add),
    ...dialogs,
    addDialog,
    made("div", { className: "grid" },
      made("label", {}, "Weight in the layout", hint("weight")), made("label", {}, "Width over height", hint("aspect"))),
    made("div", { className: "row" }, shift(-1, "Earlier"), shift(1, "Later"), remove),
  );
  const again = typing && typing.id ? $(typing.id) : null;
  if (again && typing.isConnected === false) {
    again.focus();
    if (again.tagName === "TEXTAREA") again.setSelectionRange(typing.selectionStart, typing.selectionEnd);
  }
}

function take(list, index) {
  list.splice(index, 1);
  chosen = { panel: chosen.panel, kind: "panel", index: 0 };
  refresh();
}

function goTo(index) {
  current = index;
  chosen = { panel: 0, kind: "panel", index: 0 };
  refresh();
}

// ---------------------------------------------------------------- files

const read = (file, as) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader[as](file);
  });

async function addImages(files) {
  for (const file of files) {
    const stem = file.name.replace(/\.[^.]*$/, "");
    // A story that was opened knows its characters by these files.
    const known = Object.keys(story.characters).find((name) => story.characters[name].split("/").pop() === file.name);
    images[known ?? stem] = await read(file, "readAsDataURL");
    if (!known) story.characters[stem] = file.name;
  }
  refresh();
}

async function openStory(file) {
  try {
    const opened = JSON.parse(await read(file, "readAsText"));
    delete opened.$schema;
    await ask("/place", { story: opened });
    for (const each of opened.pages) {
      each.width ??= 1240;
      each.height ??= 1754;
      for (const other of each.panels) {
        other.characters ??= [];
        other.dialogs ??= [];
        for (const key of ["box", "weight", "aspect", "seed"]) if (other[key] === null) delete other[key];
        for (const part of [...other.characters, ...other.dialogs]) if (part.box === null) delete part.box;
        for (const dialog of other.dialogs) dialog.text ??= "";
      }
    }
    story = { reading: "rtl", paper: "grey", seed: 0, characters: {}, ...opened };
    goTo(0);
  } catch (error) {
    tell(error.message, true);
  }
}

function saveStory() {
  const data = new Blob([`${JSON.stringify(story, null, 2)}\n`], { type: "application/json" });
  const link = made("a", { href: URL.createObjectURL(data), download: "story.json" });
  link.click();
  URL.revokeObjectURL(link.href);
}

// ---------------------------------------------------------------- controls

const whenChanged = (id, set) => {
  $(id).addEventListener("input", () => set($(id).value));
  $(id).addEventListener("change", refresh);
};
whenChanged("reading", (value) => (story.reading = value));
whenChanged("paper", (value) => (story.paper = value));
whenChanged("seed", (value) => (story.seed = Number(value)));
whenChanged("width", (value) => (page().width = Number(value)));
whenChanged("height", (value) => (page().height = Number(value)));

$("add-page").addEventListener("click", () => {
  story.pages.push(emptyPage());
  goTo(story.pages.length - 1);
});
$("remove-page").addEventListener("click", () => {
  story.pages.splice(current, 1);
  goTo(Math.max(current - 1, 0));
});
$("add-panel").addEventListener("click", () => {
  page().panels.forEach((each) => delete each.box);
  page().panels.push(emptyPanel());
  chosen = { panel: page().panels.length - 1, kind: "panel", index: 0 };
  refresh();
});
$("automatic-page").addEventListener("click", () => {
  page().panels.forEach((each) => delete each.box);
  refresh();
});
$("automatic-box").addEventListener("click", () => {
  if (chosen.kind === "panel") page().panels.forEach((each) => delete each.box);
  else delete item().box;
  refresh();
});
for (const input of $("numbers").querySelectorAll("input")) {
  input.addEventListener("change", () => {
    const box = [...boxOf(chosen)];
    box[Number(input.dataset.side)] = Number(input.value);
    setBox(box);
    refresh();
  });
}
$("add-images").addEventListener("change", (event) => addImages([...event.target.files]));
$("open").addEventListener("change", (event) => event.target.files[0] && openStory(event.target.files[0]));
$("save").addEventListener("click", saveStory);
$("draw").addEventListener("click", draw);
refresh();
