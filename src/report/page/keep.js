"use strict";
// What a reader has chosen, for as long as the tab is open: a page that is made anew while a study runs comes back as it was
// left. Where the browser keeps nothing from files, nothing is kept.
const keep = {
  place: "dmad " + location.pathname + " ",
  get(name) {
    try { return JSON.parse(sessionStorage.getItem(this.place + name)); } catch { return null; }
  },
  set(name, value) {
    try { sessionStorage.setItem(this.place + name, JSON.stringify(value)); } catch { /* then not */ }
  },
  // Before a page is loaded again: where it was, and what was open.
  leave() {
    const open = [...document.querySelectorAll("details")].map((own) => [own.firstElementChild.textContent, own.open]);
    this.set("left", { y: window.scrollY, open });
  },
  // Once everything stands on the page that was loaded again.
  back() {
    const left = this.get("left");
    if (!left) return;
    this.set("left", null);
    const open = new Map(left.open);
    for (const own of document.querySelectorAll("details")) {
      const name = own.firstElementChild.textContent;
      if (open.has(name)) own.open = open.get(name);
    }
    window.scrollTo(0, left.y);
    requestAnimationFrame(() => window.scrollTo(0, left.y));
  },
};
