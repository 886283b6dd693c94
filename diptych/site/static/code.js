// Twins: a name under the mouse, or under the keyboard's focus, lights up wherever it stands in the
// method, on both sides; fainter, every name that is computed from it. Click or Enter pins it,
// arrows walk, x crosses to the other side, Escape lets go.
(() => {
  const { $, $$ } = window.Diptych;
  const codes = $$(".code");
  if (!codes.length) return;
  const look = $(".look");
  const SIDES = [".L", ".R"];
  const sideOf = (name) => (name.closest(".L") ? ".L" : ".R");
  const namesOf = (code, side) => $$(`${side} b[data-n]`, code);

  // --- statements: which names does it assign, which does it use? Read from the code's own tokens.
  const cache = new WeakMap();
  function statements(code, side) {
    if (!cache.has(code)) cache.set(code, {});
    return (cache.get(code)[side] ??= cut($$(`${side} .ln > code`, code)));
  }
  function cut(lines) {
    const result = [];
    let tokens = [], depth = 0;
    for (const line of lines) {
      const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) {
        const { data: text, parentElement: parent } = walker.currentNode;
        if (/^(s|c)\w/.test(parent.className) && parent !== line) continue; // strings, comments
        const name = parent.closest("b[data-n]");
        for (const part of name ? [text] : text.match(/\s+|\w+|./gu) || []) {
          if (/^[\])}]$/.test(part)) depth -= 1;
          tokens.push({ text: part, name, depth });
          if (/^[[({]$/.test(part)) depth += 1;
        }
      }
      if (depth > 0) continue;
      if (tokens.some((token) => token.name)) result.push(read(tokens));
      [tokens, depth] = [[], 0];
    }
    return result;
  }
  function read(tokens) {
    const indent = /^\s/.test(tokens[0].text) ? tokens[0].text.length : 0;
    const words = tokens.filter((token) => token.text.trim());
    const texts = words.map((token) => token.text);
    const targets = new Set(), uses = new Set();
    const isFor = texts[0] === "for", isDef = texts[0] === "def";
    const assigned = isFor ? texts.indexOf("in") : lastAssignment(words);
    const annotation = assigned > 0 && !isFor
      ? words.findIndex((token, k) => k < assigned && token.text === ":" && token.depth === 0) : -1;
    let inIndex = 0;
    words.forEach(({ text, name, depth }, k) => {
      if (text === "[") inIndex += 1;
      if (text === "]") inIndex -= 1;
      if (!name) return;
      const id = name.dataset.n;
      if (isDef) {
        if (k === 1 || (depth === 1 && /^[(,*]$/.test(texts[k - 1]))) targets.add(id);
      } else if (k < assigned && !(annotation >= 0 && k > annotation)) {
        if (!inIndex && texts[k + 1] !== ".") targets.add(id); else uses.add(id);
      } else if (texts[k + 1] !== "=" || depth === 0) uses.add(id); // not the keyword of an argument
    });
    if (/^[-+*/@|&%]$/.test(texts[assigned - 1])) for (const id of targets) uses.add(id);
    return { indent, isFor, targets, uses, names: words.filter((token) => token.name).map((token) => token.name) };
  }
  function lastAssignment(words) {
    let at = -1;
    words.forEach(({ text, depth }, k) => {
      const beside = (words[k - 1]?.text || "") + (words[k + 1]?.text || "");
      if (text === "=" && depth === 0 && !/[<>!=]/.test(beside)) at = k;
    });
    return at;
  }

  /** The names that are computed from `name`: a forward pass over the statements, loops twice. */
  function flow(list, name) {
    const result = new Set();
    const first = list.findIndex((s) => s.targets.has(name));
    if (first < 0) return result;
    const known = new Set([name]);
    const run = (from, to) => {
      for (let k = from; k < to; k += 1) {
        const { isFor, indent, targets, uses } = list[k];
        if ([...uses].some((id) => known.has(id))) for (const id of targets) known.add(id);
        if (!isFor) continue;
        let end = k + 1;
        while (end < to && list[end].indent > indent) end += 1;
        run(k + 1, end);
      }
    };
    run(first, list.length);
    run(first, list.length); // what a loop hands from one step to the next
    known.delete(name);
    for (const { names, targets, uses } of list.slice(first))
      if ([...targets, ...uses].some((id) => known.has(id)))
        for (const element of names) if (known.has(element.dataset.n)) result.add(element);
    return result;
  }

  // --- light
  let pinned = null, lit = [];
  const mark = (element, ...classes) => { element.classList.add(...classes); lit.push(element); };
  function light(name) {
    for (const element of lit) element.classList.remove("on", "from", "flow", "at");
    lit = [];
    look.hidden = !name;
    if (!name) return;
    const code = name.closest(".code"), id = name.dataset.n;
    const counts = SIDES.map((side) => {
      const twins = namesOf(code, side).filter((other) => other.dataset.n === id);
      for (const element of flow(statements(code, side), id)) mark(element, "flow");
      for (const twin of twins) mark(twin, "on");
      return twins.length;
    });
    mark(name, "from");
    mark(name.closest(".g"), "at");
    look.replaceChildren(Object.assign(document.createElement("b"), { textContent: name.textContent }), sentence(name, ...counts));
  }
  function sentence(name, left, right) {
    const flows = new Set(lit.filter((e) => e.classList.contains("flow") && e.closest(sideOf(name))).map((e) => e.dataset.n));
    const group = name.closest(".g");
    const alone = `only on the ${left ? "left" : "right"}${group.matches(".vjp") || name.dataset.n.endsWith("_vjp") ? ": autograd does this on the right" : ""}`;
    const definition = window.Diptych.definitionOf?.(name);
    return (left && right ? `${left} × left, ${right} × right` : alone) +
      (flows.size ? ` · ${flows.size} name${flows.size > 1 ? "s" : ""} computed from it` : "") +
      (definition ? ` · g: its definition ${definition.place}` : "");
  }

  const nameOf = (target) => target?.closest?.(".code b[data-n]");
  document.addEventListener("mouseover", (event) => {
    const name = nameOf(event.target) || pinned || nameOf(document.activeElement);
    if (name || lit.length) light(name);
  });
  document.addEventListener("focusin", (event) => nameOf(event.target) && light(nameOf(event.target)));
  document.addEventListener("focusout", (event) => nameOf(event.target) && light(pinned));
  document.addEventListener("click", (event) => {
    if (event.target.closest(".follow, .step, .tape, .side, .bar")) return;
    const name = nameOf(event.target);
    if (name) focusOn(name); // the keyboard goes on from here
    pinned = name && name !== pinned ? name : null;
    light(pinned);
  });

  // --- one Tab stop a method; inside it the arrows walk
  for (const code of codes) {
    const first = $("b[data-n]", code);
    if (!first) continue;
    first.tabIndex = 0;
    code.setAttribute("role", "group");
    code.setAttribute("aria-label", `Names of ${code.dataset.def}: arrow keys walk, x crosses to the twin`);
  }
  function focusOn(name) {
    if (!name) return;
    for (const other of $$('b[tabindex="0"]', name.closest(".code"))) other.removeAttribute("tabindex");
    name.tabIndex = 0;
    name.focus();
    name.scrollIntoView({ block: "nearest" });
  }
  /** left and right go by name, up and down by line, x to the nearest twin across. */
  function walk(name, key) {
    const code = name.closest(".code"), side = sideOf(name);
    const names = namesOf(code, side), at = names.indexOf(name);
    if (key === "ArrowRight") return names[at + 1];
    if (key === "ArrowLeft") return names[at - 1];
    if (key === "x") {
      const across = namesOf(code, side === ".L" ? ".R" : ".L").filter((other) => other.dataset.n === name.dataset.n);
      return across.find((other) => other.closest(".g") === name.closest(".g")) || across[0];
    }
    const lines = [...new Set(names.map((other) => other.closest(".ln")))];
    const line = lines[lines.indexOf(name.closest(".ln")) + (key === "ArrowDown" ? 1 : -1)];
    const x = name.getBoundingClientRect().left;
    const far = (other) => Math.abs(other.getBoundingClientRect().left - x);
    return line && $$("b[data-n]", line).sort((a, b) => far(a) - far(b))[0];
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { pinned = null; light(null); }
    const name = nameOf(event.target);
    if (!name || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow") || event.key === "x") { event.preventDefault(); focusOn(walk(name, event.key)); }
    if (event.key === "Enter") { pinned = pinned === name ? null : name; light(pinned || name); }
  });

  // ?lit=LSTM.loss:logits lights a name up, for links to a page
  const [method, id] = (window.Diptych.parameter("lit") || "").split(":");
  const section = method && document.getElementById(method);
  if (section && id) light((pinned = $(`b[data-n="${CSS.escape(id)}"]`, section)));
})();
