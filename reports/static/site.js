"use strict";
// A link to an entry that is folded away opens it.
(function () {
  function open() {
    const name = decodeURIComponent(window.location.hash.slice(1));
    const entry = name && document.getElementById(name);
    const fold = entry && entry.closest("details");
    if (!fold) return;
    fold.open = true;
    entry.scrollIntoView({ block: "start" });
  }

  window.addEventListener("hashchange", open);
  open();
})();
