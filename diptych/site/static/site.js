// Theme, which panels are shown, the menu of small screens, where we are on the page.
// The scripts of the site are one file of functions that run once; each does nothing on a page
// without its elements. What they share stands in window.Diptych.
(() => {
  const root = document.documentElement;
  const $ = (query, within = document) => within.querySelector(query);
  const $$ = (query, within = document) => [...within.querySelectorAll(query)];
  const number = (x) => String(x).replace("-", "\u2212");

  const site = (window.Diptych = {
    $, $$,
    /** 2.1e-16 as "2e−16" (digits = 0); errors may be the strings "inf" and "nan". */
    sci: (x, digits = 0) => typeof x === "string" ? x : x === 0 ? "0" : number(x.toExponential(digits)),
    escape: (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]),
    json: (id) => JSON.parse(document.getElementById(id)?.textContent || "null"),
    parameter: (name) => new URLSearchParams(location.search).get(name),
    /** Keep a choice in the address, so that a link to the page carries it. */
    remember(name, value) {
      const query = new URLSearchParams(location.search);
      if (value === null) query.delete(name); else query.set(name, value);
      const text = query.size ? `?${query}` : "";
      try { history.replaceState(null, "", location.pathname + text + location.hash); } catch { /* file:// */ }
    },
    toggle(buttons, chosen) {
      for (const button of buttons) button.setAttribute("aria-pressed", button === chosen);
    },
  });

  // --- light or dark: the system's choice until the reader makes one
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const themeButton = $(".theme");
  const label = () => {
    if (themeButton) themeButton.textContent = isDark() ? "Light" : "Dark";
    document.dispatchEvent(new Event("diptych:theme"));
  };
  themeButton?.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* no storage for files */ }
    label();
  });
  system.addEventListener("change", label);
  label();

  // --- left, both, right
  const panelButtons = $$("[data-panels]");
  function showPanels(name) {
    const button = panelButtons.find((b) => b.dataset.panels === name);
    if (!button) return;
    if (name === "both") delete root.dataset.show; else root.dataset.show = name;
    site.toggle(panelButtons, button);
  }
  for (const button of panelButtons)
    button.addEventListener("click", () => {
      const top = firstVisible();
      const before = top?.getBoundingClientRect().top;
      showPanels(button.dataset.panels);
      site.remember("panels", button.dataset.panels === "both" ? null : button.dataset.panels);
      if (top) scrollBy(0, top.getBoundingClientRect().top - before); // stay at the same line
    });
  /** The first definition whose title or code is within the window. */
  const firstVisible = () => $$(".def").find((d) => d.getBoundingClientRect().bottom > 80);
  showPanels(site.parameter("panels"));

  // --- the menu of small screens; a chosen entry closes it
  const side = $(".side"), menu = $(".menu");
  menu?.addEventListener("click", () => {
    side.toggleAttribute("data-open");
    menu.setAttribute("aria-expanded", side.hasAttribute("data-open"));
  });
  side?.addEventListener("click", (event) => {
    if (event.target.closest(".inside a")) { side.removeAttribute("data-open"); menu.setAttribute("aria-expanded", "false"); }
  });

  // --- the entry of the definition that is being read
  const links = new Map($$(".inside a").map((link) => [link.dataset.of, link]));
  const reading = new IntersectionObserver((entries) => {
    const entry = entries.filter((e) => e.isIntersecting).pop();
    if (!entry || !links.has(entry.target.id)) return;
    for (const link of links.values()) link.classList.toggle("here", link === links.get(entry.target.id));
    const link = links.get(entry.target.id), box = link.getBoundingClientRect();
    if (box.bottom > innerHeight - 20 || box.top < 20)
      side.scrollTop += box.top - innerHeight / 2;
  }, { rootMargin: "-12% 0px -80% 0px" });
  for (const section of $$(".def")) reading.observe(section);

  // --- what is wider than its column can be scrolled by keyboard too
  const wide = $$(".eqs, .eqs .whole, .tape, .art, main pre, main p:has(math), main dd:has(math)");
  const reach = () => {
    for (const element of wide)
      if (element.scrollWidth > element.clientWidth + 1) element.tabIndex = 0; else element.removeAttribute("tabindex");
  };
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
  reach();
})();
