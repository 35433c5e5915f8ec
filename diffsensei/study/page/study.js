"use strict";
// One rater's way through a packet. The same file serves the study's server and the offline packet, which differ only
// in where images come from and where answers go. Texts are set as text, never as markup.

const $ = (id) => document.getElementById(id);
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const RETRY_MS = 4000;

function element(tag, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

class Refused extends Error {
  constructor(status, line) { super(line); this.status = status; }
}

// ------------------------------------------------------------ where packets come from and answers go

class Online {
  async open() {
    const token = location.hash.slice(1);
    if (token) {
      await this.ask("/session", { method: "POST", body: token });
      history.replaceState(null, "", "/");  // so that the token is neither bookmarked nor shown to bystanders
    }
    const got = await (await this.ask("/packet")).json();
    this.formToken = got.form_token;
    return { packet: got.packet, answered: new Set(got.answered) };
  }

  async ask(path, options = {}) {
    const answer = await fetch(path, { credentials: "same-origin", ...options });
    if (!answer.ok) {
      let line = "";
      try { line = (await answer.json()).error; } catch { /* no reason given */ }
      throw new Refused(answer.status, line || `the server answered ${answer.status}`);
    }
    return answer;
  }

  image(name) { return `/images/${name}`; }

  async keep(vote) {
    await this.ask("/votes", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Form-Token": this.formToken },
      body: JSON.stringify(vote),
    });
  }

  how() { return "Every answer is stored at once. You may stop and open your link again later, on any device."; }

  finished(count) {
    notice("Thank you!", `All ${count} sets are answered and stored. You may close this page.`);
  }
}

class Offline {
  constructor(data) {
    this.data = data;
    this.key = `study-${data.packet.packet}`;
    this.votes = [];
    this.remembers = true;
  }

  async open() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key) || "[]");
      const known = new Set(this.data.packet.trials.map((trial) => trial.trial));
      this.votes = Array.isArray(kept) ? kept.filter((vote) => vote && known.has(vote.trial)) : [];
    } catch { this.remembers = false; }
    return { packet: this.data.packet, answered: new Set(this.votes.map((vote) => vote.trial)) };
  }

  image(name) { return this.data.images[name]; }

  async keep(vote) {
    this.votes.push(vote);
    try { localStorage.setItem(this.key, JSON.stringify(this.votes)); } catch { this.remembers = false; }
  }

  how() {
    return this.remembers
      ? "Your answers stay in this browser. At the end you download them as a file and send it back."
      : "This browser does not remember answers: please do it in one go. At the end you download a file and send it back.";
  }

  finished(count) {
    notice("Almost done", `All ${count} sets are answered. Download your answers and send the file to whoever gave you this page. `
      + "Nothing has been sent by itself.", "Download my answers", () => this.download());
  }

  download() {
    const file = {
      format: "diffsensei-study-votes-1", study: this.data.packet.study, packet: this.data.packet.packet,
      digest: this.data.digest, signature: this.data.signature, votes: this.votes,
    };
    const address = URL.createObjectURL(new Blob([JSON.stringify(file)], { type: "application/json" }));
    element("a", { href: address, download: `answers-${this.data.packet.packet.slice(0, 8)}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    $("notice-title").textContent = "Thank you!";
    $("notice-text").textContent = "The file with your answers is in your downloads. Please send it back. You may download it again.";
  }
}

// ------------------------------------------------------------ what is on the screen

const embedded = $("packet");
const source = embedded ? new Offline(JSON.parse(embedded.textContent)) : new Online();
let packet = null;
let answered = new Set();
let current = null;
let began = 0;
let sending = false;

function show(id) {
  for (const name of ["welcome", "trial", "notice"]) $(name).hidden = name !== id;
}

function notice(title, text, label = "", action = null) {
  if ($("viewer").open) $("viewer").close();
  $("notice-title").textContent = title;
  $("notice-text").textContent = text;
  $("notice-button").hidden = !label;
  $("notice-button").textContent = label;
  $("notice-button").onclick = action;
  show("notice");
  if (label) $("notice-button").focus();
}

function say(text, wrong = false) {
  $("state").textContent = text;
  $("state").classList.toggle("wrong", wrong);
}

function progress() {
  const total = packet.trials.length;
  const done = packet.trials.filter((trial) => answered.has(trial.trial)).length;
  $("bar").hidden = false;
  $("bar").max = total;
  $("bar").value = done;
  $("count").textContent = done < total ? `Set ${done + 1} of ${total}` : `${total} of ${total} answered`;
}

function picture(name, alt, failed) {
  const image = element("img", { alt, draggable: false });
  image.onerror = () => failed(image);
  image.src = source.image(name);
  return image;
}

function option(name, place) {
  const letter = LETTERS[place];
  const button = element("button", { type: "button" });
  button.setAttribute("aria-label", `Enlarge page ${letter}`);
  const load = () => {
    button.classList.remove("lost");
    const image = picture(name, `Page ${letter}`, () => {
      button.classList.add("lost");
      button.textContent = "This page did not load. Press to try again.";
      button.onclick = load;
      ready();
    });
    [image.width, image.height] = current.size;
    image.onload = ready;
    button.replaceChildren(image);
    button.onclick = () => enlarge(place);
  };
  load();
  return element("figure", { className: "option" }, [element("figcaption", { textContent: letter }), button]);
}

function question(aspect, number) {
  const choices = current.options.map((_, place) => [String(place), LETTERS[place], ""]);
  const middle = choices.length === 2 ? 1 : choices.length;
  choices.splice(middle, 0, ["none", "no difference", "none"]);
  const labels = choices.map(([value, text, kind]) => {
    const input = element("input", { type: "radio", name: aspect.name, value, required: true });
    input.addEventListener("change", ready);
    return element("label", { className: kind }, [input, element("span", { textContent: text })]);
  });
  return element("fieldset", {}, [
    element("legend", { textContent: `${number + 1}. ${aspect.question}` }),
    element("div", { className: choices.length > 3 ? "row many" : "row" }, labels),
  ]);
}

function seen() { return [...document.querySelectorAll(".option")].every((figure) => {
  const image = figure.querySelector("img");
  return image && image.complete && image.naturalWidth > 0;
}); }

function ready() {
  if (began === 0 && seen()) began = performance.now();
  $("send").disabled = sending || !seen() || !$("answers").checkValidity();
  if (sending) return;
  const left = packet.aspects.length - document.querySelectorAll("#questions input:checked").length;
  say(left === 0 ? "" : left === 1 ? "1 question to answer" : `${left} questions to answer`);
}

function next() {
  progress();
  current = packet.trials.find((trial) => !answered.has(trial.trial)) || null;
  if (!current) { source.finished(packet.trials.length); return; }
  began = 0;
  const many = current.options.length;
  $("options").style.setProperty("--columns", many <= 2 ? many : many === 4 ? 2 : 3);
  $("options").replaceChildren(...current.options.map(option));
  $("characters").replaceChildren(...current.characters.map((name) => picture(name, "a character that was given", () => {})));
  $("descriptions").replaceChildren(...current.descriptions.map((text) => element("li", { textContent: text })));
  $("questions").replaceChildren(...packet.aspects.map(question));
  for (const part of ["side", "descriptions"]) $(part).scrollTop = 0;
  show("trial");
  scrollTo(0, 0);
  ready();
}

// ------------------------------------------------------------ answering

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function send() {
  if (sending || $("send").disabled) return;
  const form = new FormData($("answers"));
  const choices = {};
  for (const aspect of packet.aspects) {
    const value = form.get(aspect.name);
    choices[aspect.name] = value === "none" ? null : Number(value);
  }
  const vote = { trial: current.trial, choices, duration_ms: Math.min(Math.round(performance.now() - began), 86400000) };
  sending = true;
  $("answers").inert = true;
  say("Saving …");
  for (;;) {
    try {
      await source.keep(vote);
      break;
    } catch (error) {
      const passing = !(error instanceof Refused) || error.status >= 500 || error.status === 429;
      if (error.status === 409) break;  // answered on another device: the first answer counts
      if (!passing) { sending = false; $("answers").inert = false; stopped(error); return; }
      say("Not saved yet: no connection to the study. Keep this page open; trying again …", true);
      await pause(RETRY_MS);
    }
  }
  sending = false;
  $("answers").inert = false;
  answered.add(vote.trial);
  next();
}

function stopped(error) {
  if (!(error instanceof Refused)) {
    notice("No connection", "The study cannot be reached just now. Nothing that you have answered is lost.", "Try again", () => location.reload());
  } else if (error.status === 401 || error.status === 403) {
    notice("Please open your personal link", error.status === 401
      ? "This page opens with the link that you were sent. If you have used it before, open it again: you go on where you stopped."
      : "This link is not valid. Please check that it was copied whole, or ask for a new one.");
  } else {
    notice("Something went wrong", `${error.message}. Nothing that you have answered is lost.`, "Try again", () => location.reload());
  }
}

// ------------------------------------------------------------ a page, enlarged

function enlarge(place) {
  $("viewer-choice").replaceChildren(...current.options.map((_, other) => {
    const button = element("button", { type: "button", textContent: LETTERS[other], onclick: () => enlarge(other) });
    button.setAttribute("aria-pressed", String(other === place));
    button.setAttribute("aria-label", `Page ${LETTERS[other]}`);
    return button;
  }));
  $("viewer-image").src = source.image(current.options[place]);
  $("viewer-image").alt = `Page ${LETTERS[place]}, enlarged`;
  if (!$("viewer").open) $("viewer").showModal();
}

// ------------------------------------------------------------ keyboard

function choose(value) {
  const rows = [...document.querySelectorAll("#questions fieldset")];
  const focused = rows.findIndex((row) => row.contains(document.activeElement));
  const open = rows.findIndex((row) => !row.querySelector("input:checked"));
  const at = focused >= 0 ? focused : open;
  const input = at >= 0 ? rows[at].querySelector(`input[value="${value}"]`) : null;
  if (!input) return;
  input.click();
  const following = rows[at + 1];
  if (following) following.querySelector("input:checked, input").focus();
  else if (!$("send").disabled) $("send").focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("trial").hidden || !current || sending) return;
  const place = /^[1-9]$/.test(event.key) ? Number(event.key) - 1
    : event.key.length === 1 ? LETTERS.indexOf(event.key.toUpperCase()) : -1;
  if ($("viewer").open) {
    if (place >= 0 && place < current.options.length) enlarge(place);
    return;
  }
  if (event.key === "0") choose("none");
  else if (place >= 0 && place < current.options.length) choose(String(place));
  else if (event.key === "Enter" && !$("send").disabled && !["BUTTON", "SUMMARY"].includes(document.activeElement.tagName)) send();
  else return;
  event.preventDefault();
});

$("answers").addEventListener("submit", (event) => { event.preventDefault(); send(); });
$("viewer-close").addEventListener("click", () => $("viewer").close());
$("viewer-page").addEventListener("click", (event) => { if (event.target === $("viewer-page")) $("viewer").close(); });
$("start").addEventListener("click", next);

(async () => {
  try {
    ({ packet, answered } = await source.open());
  } catch (error) { stopped(error); return; }
  $("consent").replaceChildren(...packet.consent.map((text) => element("p", { textContent: text })));
  const most = Math.max(...packet.trials.map((trial) => trial.options.length));
  $("how").replaceChildren(...[
    `${packet.trials.length} sets of ${most === 2 ? "two pages" : `up to ${most} pages`}, ${packet.aspects.length} questions on each. `
      + "All pages of a set tell the same.",
    "If you see no difference, say so. An answer is final once it is saved.",
    source.how(),
    "Press a page to enlarge it." + (matchMedia("(hover: hover)").matches
      ? ` Keys: 1${most > 2 ? ` to ${most}` : ", 2"} choose a page, 0 is no difference, Enter saves.` : ""),
  ].map((text) => element("li", { textContent: text })));
  if (answered.size) $("start").textContent = "Go on where I stopped";
  progress();
  if (packet.trials.every((trial) => answered.has(trial.trial))) { next(); return; }
  show("welcome");
  $("start").focus();
})();
