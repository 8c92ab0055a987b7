// What htmx has no attribute for: copying, keys, and the manners of a page that refreshes. Every page works without this file.
"use strict";

// --- copying and keys

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
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

// j and k walk through a list's rows, / goes to the search field
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("find").focus();
  } else if (event.key === "j" || event.key === "k") {
    const rows = [...document.querySelectorAll("[data-row] a:first-of-type")];
    const at = rows.indexOf(document.activeElement);
    const next = at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)));
    rows[next]?.focus();
  }
});

// --- refreshing

// Whether somebody reads just this: then it stays as it is.
const isRead = (place) => {
  const selection = getSelection();
  return place.contains(document.activeElement) || (!selection.isCollapsed && place.contains(selection.anchorNode));
};

document.addEventListener("htmx:beforeRequest", (event) => {
  const place = event.target;
  if (!place.matches("[data-refresh]")) return;
  if (document.hidden || isRead(place) || !document.getElementById("refresh").checked) event.preventDefault();
});

// what was unfolded stays so
document.addEventListener("htmx:beforeSwap", (event) => {
  const open = [...event.detail.target.querySelectorAll("details[open][id]")].map((details) => details.id);
  if (open.length) event.detail.target.addEventListener("htmx:afterSwap", () => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  }, { once: true });
});

// A refresh that failed is said. What a person asked for and did not get is asked for again as a page: that says why.
let refreshed = new Date();
const failed = (event) => {
  const answer = event.detail.xhr?.status ? `it answered ${event.detail.xhr.status}` : "it does not answer";
  if (!event.detail.elt.matches("[data-refresh]")) {
    location.assign(event.detail.pathInfo.finalRequestPath);
    return;
  }
  const stale = document.getElementById("stale");
  stale.textContent = `Not refreshed since ${refreshed.toISOString().slice(11, 19)} UTC: ${answer}.`;
  stale.hidden = false;
};
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(name, failed);

document.addEventListener("htmx:afterSwap", (event) => {
  if (!event.target.matches("[data-refresh]")) return;
  refreshed = new Date();
  document.getElementById("stale").hidden = true;
});

// --- what came

// what needs scripts is of use now
const show = (fresh) => {
  for (const needs of fresh.querySelectorAll("[data-scripted]")) needs.hidden = false;
};
show(document);
document.addEventListener("htmx:load", (event) => show(event.target));

// What a person asked for is said to who does not see it; "Older" is gone, so the keyboard goes on with the first of the older ones.
document.addEventListener("htmx:afterSettle", (event) => {
  const asked = event.detail.requestConfig?.elt;
  if (!asked || asked.matches("[data-refresh]")) return;
  const heading = event.target.querySelector("[data-say]");
  if (heading) document.getElementById("said").textContent = heading.textContent;
  if (asked.rel === "next") event.target.querySelector("[data-row] a")?.focus();
});

// --- the tail

const ROWS = 100; // as many as a person reads; a flood must not fill the page

const tells = (name, words) => document.addEventListener(name, (event) => {
  const told = event.target.querySelector("[data-tail]");
  if (told) told.textContent = words(told);
});
tells("htmx:sseOpen", (told) => (told.dataset.cut ? "following again; what came meanwhile is not shown here" : "following"));
tells("htmx:sseError", (told) => ((told.dataset.cut = "1"), "not following, trying again"));
document.addEventListener("htmx:sseMessage", (event) => {
  while (event.target.rows.length > ROWS) event.target.deleteRow(-1);
});
