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

  // Each line holds words of one meaning: a query with one of them finds the others too.
  const SYNONYMS = [
    ["log-determinant", "logdet", "log det", "log_det", "jacobian"],
    ["bptt", "backpropagation through time"],
    ["backpropagation", "backprop", "backward pass", "vjp"],
    ["causal", "masked"],
    ["derivation", "derive", "proof"],
    ["elbo", "evidence lower bound", "variational bound", "neg_elbo"],
    ["kl", "kullback-leibler", "relative entropy"],
    ["importance weight", "log_weight", "iwae"],
    ["forget gate", "forget_bias", "forget bias"],
    ["teacher forcing", "token_nll"],
    ["reinforce", "score function", "score_function"],
    ["free bits", "free_bits"],
    ["autoregressive flow", "iaf", "made"],
    ["transposed convolution", "deconvolution", "conv_transpose"],
    ["dropout", "mask"],
    ["learning rate", "step size"],
    ["initialisation", "init", "xavier", "kaiming"],
    ["posterior collapse", "lossy", "information preference"],
    ["random numbers", "random", "philox", "seed"],
  ];
  /** One spelling for all: -ise, -ize and -isation end alike, parametr- is parameter-. */
  const plain = (text) => text.toLowerCase().replace(/i[sz](?:es?|ed|er|ing|ations?)\b/g, "is").replace(/parametris/g, "parameteris");
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

  /** The query, then the query with a word of it replaced by each of its synonyms. */
  function wordings(query) {
    const result = new Set([query]);
    for (const group of SYNONYMS.map((words) => words.map(plain)))
      for (const word of group) {
        const whole = new RegExp(`(^|[^a-z])${escaped(word)}(?![a-z])`);
        if (whole.test(query)) for (const other of group) result.add(query.replace(whole, `$1${other}`));
      }
    return [...result];
  }

  /** The smaller, the better: an exact name, its beginning, a word of it, any part, the summary, other words. */
  function rank(entry, query) {
    const name = entry.plain[0];
    const last = name.slice(Math.max(name.lastIndexOf("."), name.lastIndexOf("/")) + 1);
    if (name === query) return 0;
    if (last === query) return 1;
    if (name.startsWith(query) || last.startsWith(query)) return 2;
    if (name.split(/[^a-z0-9]+/).some((word) => word.startsWith(query))) return 3;
    if (name.includes(query)) return 4;
    const words = query.split(/\s+/), has = (text) => words.every((word) => text.includes(word));
    if (has(name)) return 5;
    return has(entry.plain[1]) ? 6 : has(entry.plain[2]) ? 8 : null;
  }

  function matches(entries, query) {
    const ranked = [];
    const wanted = wordings(plain(query));
    entries.forEach((entry, order) => {
      entry.plain ??= [entry[0], `${entry[0]} ${entry[3]}`, entry.join(" ")].map(plain);
      const places = wanted.map((wording, k) => [rank(entry, wording), k]).filter(([place]) => place !== null);
      if (places.length) ranked.push([Math.min(...places.map(([place, k]) => place + (k ? 1.5 : 0))), entry[0].length, order, entry]);
    });
    ranked.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    return ranked.map((item) => item[3]);
  }

  /** Three names that share the most pairs of letters with a query that finds nothing. */
  function suggestions(entries, query) {
    const pairs = (text) => new Set([...text].slice(1).map((letter, k) => text[k] + letter));
    const wanted = pairs(plain(query));
    const score = ([name]) => {
      const own = pairs(plain(name));
      return [...wanted].filter((pair) => own.has(pair)).length / Math.sqrt(own.size + 1);
    };
    const known = entries.filter(([, kind]) => /^(page|function|class|method)$/.test(kind));
    return known.map((entry) => [score(entry), entry]).sort((a, b) => b[0] - a[0]).slice(0, 3).map(([, entry]) => entry);
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
    const shown = results.length ? results.slice(0, SHOWN) : suggestions(entries, query);
    list.replaceChildren(...shown.map(option));
    list.hidden = !shown.length;
    box.setAttribute("aria-expanded", String(shown.length > 0));
    const more = results.length > SHOWN ? ", the first " + SHOWN + " are shown" : "";
    status.textContent = results.length ? results.length + " names" + more : "Nothing found. Similar names:";
    list.dataset.note = results.length ? "" : status.textContent;
    active = -1; // a suggestion is chosen by arrows alone
    box.removeAttribute("aria-activedescendant");
    if (results.length) choose(0);
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
