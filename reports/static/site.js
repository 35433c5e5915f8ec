"use strict";
// A link to an entry that is folded away opens it; the navigation of a narrow window shows where one is.
(function () {
  function open() {
    const name = decodeURIComponent(window.location.hash.slice(1));
    const entry = name && document.getElementById(name);
    const fold = entry && entry.closest("details");
    if (!fold) return;
    fold.open = true;
    entry.scrollIntoView({ block: "start" });
  }

  const here = document.querySelector("nav [aria-current]");
  if (here) {
    const bar = here.closest(".bar-inner");
    bar.scrollLeft = here.offsetLeft + here.offsetWidth / 2 - bar.clientWidth / 2;
  }

  window.addEventListener("hashchange", open);
  open();
})();
