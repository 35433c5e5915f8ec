"use strict";
// The choice of two versions to compare.
(function () {
  const tools = document.querySelector("[data-pairs]");
  if (!tools) return;
  const pairs = new Set(tools.dataset.pairs.split(" "));
  const first = document.querySelector("[data-first]");
  const second = document.querySelector("[data-second]");
  const go = document.querySelector("[data-go]");
  const same = document.querySelector("[data-same]");
  const make = document.querySelector("[data-make]");
  const command = document.querySelector("[data-command]");

  function show() {
    const address = "compare/" + first.value + "__" + second.value + ".html";
    const equal = first.value === second.value;
    same.hidden = !equal;
    go.hidden = equal || !pairs.has(address);
    make.hidden = equal || pairs.has(address);
    go.href = address;
    command.textContent = "diffsensei report diff " + first.value + " " + second.value;
  }

  first.addEventListener("change", show);
  second.addEventListener("change", show);
  show();
})();
