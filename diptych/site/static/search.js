/* Search by name: a combobox over window.SEARCH, which is read when the box is first focused. */
(function () {
  "use strict";
  const box = document.getElementById("find");
  if (!box) return;
  const SHOWN = 12;
  const root = new URL("..", document.currentScript.src);

  const list = document.createElement("ul");
  list.id = "find-results";
  list.className = "results-list";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Names that match");
  list.hidden = true;
  const status = document.createElement("span");
  status.className = "find-status";
  status.setAttribute("role", "status");
  box.after(list, status);
  box.autocomplete = "off";
  const attributes = { role: "combobox", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list" };
  for (const [name, value] of Object.entries(attributes)) box.setAttribute(name, value);

  let loading = null;
  function load() {
    // fetch does not work from file://, a script does
    loading = loading || new Promise((resolve) => {
      if (window.SEARCH) return resolve(window.SEARCH);
      const script = document.createElement("script");
      script.src = new URL("assets/search.js", root).href;
      script.onload = () => resolve(window.SEARCH || []);
      script.onerror = () => resolve([]);
      document.head.append(script);
    });
    return loading;
  }

  // the smaller, the better: an exact name, its beginning, a word of it, any part, the summary
  function rank(entry, query) {
    const name = entry[0].toLowerCase();
    const last = name.slice(Math.max(name.lastIndexOf("."), name.lastIndexOf("/")) + 1);
    if (name === query) return 0;
    if (last === query) return 1;
    if (name.startsWith(query) || last.startsWith(query)) return 2;
    if (name.split(/[^a-z0-9]+/).some((word) => word.startsWith(query))) return 3;
    if (name.includes(query)) return 4;
    const words = query.split(/\s+/);
    const text = name + " " + entry[3].toLowerCase();
    return words.every((word) => text.includes(word)) ? 5 : null;
  }

  function matches(entries, query) {
    const ranked = [];
    entries.forEach((entry, order) => {
      const place = rank(entry, query);
      if (place !== null) ranked.push([place, entry[0].length, order, entry]);
    });
    ranked.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    return ranked.map((item) => item[3]);
  }

  let active = -1;
  function options() {
    return Array.from(list.children);
  }

  function choose(index) {
    const items = options();
    active = items.length ? (index + items.length) % items.length : -1;
    items.forEach((item, i) => item.setAttribute("aria-selected", String(i === active)));
    if (active < 0) return box.removeAttribute("aria-activedescendant");
    box.setAttribute("aria-activedescendant", items[active].id);
    items[active].scrollIntoView({ block: "nearest" });
  }

  function close() {
    list.hidden = true;
    status.textContent = "";
    box.setAttribute("aria-expanded", "false");
    choose(-options().length);
    active = -1;
    box.removeAttribute("aria-activedescendant");
  }

  function option(entry, index) {
    const [name, kind, address, summary] = entry;
    const item = document.createElement("li");
    item.id = "find-result-" + index;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    item.dataset.href = new URL(address, root).href;
    for (const [tag, text] of [["b", name], ["small", kind], ["span", summary]]) {
      const part = document.createElement(tag);
      part.textContent = text;
      item.append(part, " ");
    }
    return item;
  }

  function go(item) {
    close();
    location.href = item.dataset.href;
    box.blur();
  }

  async function update() {
    const query = box.value.trim().toLowerCase();
    const entries = await load();
    if (query !== box.value.trim().toLowerCase()) return; // typed on meanwhile
    if (!query) return close();
    const results = matches(entries, query);
    list.replaceChildren(...results.slice(0, SHOWN).map(option));
    list.hidden = !results.length;
    box.setAttribute("aria-expanded", String(results.length > 0));
    const more = results.length > SHOWN ? ", the first " + SHOWN + " are shown" : "";
    status.textContent = results.length ? results.length + " names" + more : "No name matches.";
    choose(0);
  }

  const KEYS = {
    ArrowDown: () => choose(active + 1),
    ArrowUp: () => choose(active - 1),
    Enter: () => options()[active] && go(options()[active]),
    Escape: () => (list.hidden ? ((box.value = ""), box.blur()) : close()),
  };
  box.addEventListener("input", update);
  box.addEventListener("focus", () => (load(), box.value && update()));
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (event) => {
    const action = KEYS[event.key];
    event.stopPropagation(); // the keys of a page do nothing while a name is typed
    if (!action || (list.hidden && event.key !== "Escape")) return;
    event.preventDefault();
    action();
  });
  list.addEventListener("mousedown", (event) => {
    const item = event.target.closest("li");
    event.preventDefault(); // the box keeps the focus
    if (item) go(item);
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    box.focus();
    box.select();
  });
})();
