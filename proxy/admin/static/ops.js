// Enhancements only: copy buttons, keys, and word of new incidents. Every page works without this file.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent.trim());
      button.textContent = "Copied";
    } catch {
      // without a secure context there is no clipboard: select it, so that Ctrl-C takes it
      getSelection().selectAllChildren(text);
      button.textContent = "Selected: press Ctrl-C";
    }
  });
}

// j and k walk through a list's rows, / goes to the search field
const rows = [...document.querySelectorAll("[data-row] a:first-of-type")];
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("find").focus();
  } else if (rows.length && (event.key === "j" || event.key === "k")) {
    const at = rows.indexOf(document.activeElement);
    const next = at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)));
    rows[next].focus();
  }
});

const live = document.getElementById("live");
if (live) {
  let count = 0;
  const source = new EventSource(live.dataset.stream);
  source.addEventListener("incident", () => {
    count += 1;
    live.hidden = false;
    live.firstElementChild.textContent = count === 1 ? "1 new incident: show it" : `${count} new incidents: show them`;
  });
}
