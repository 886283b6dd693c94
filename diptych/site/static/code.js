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
        if (/^[sc]$/.test(parent.className)) continue; // strings, comments
        const name = parent.closest("b[data-n]");
        for (const part of name ? [text] : text.match(/\s+|\w+|./gu) || []) {
          if (/^[\])}]$/.test(part)) depth -= 1;
          tokens.push({ text: part, name, depth });
          if (/^[[({]$/.test(part)) depth += 1;
        }
      }
      if (depth > 0) continue;
      if (tokens.some((token) => token.text.trim())) result.push(read(tokens));
      [tokens, depth] = [[], 0];
    }
    return result;
  }

  /** A statement as parts, each of which computes its targets from its uses: a, b = f(x), g(y) has two. */
  function read(tokens) {
    const indent = /^\s/.test(tokens[0].text) ? tokens[0].text.length : 0;
    const words = tokens.filter((token) => token.text.trim()), texts = words.map((token) => token.text);
    const isFor = texts[0] === "for", isDef = texts[0] === "def";
    const assigned = isFor ? texts.indexOf("in") : lastAssignment(words);
    const annotation = assigned > 0 && !isFor
      ? words.findIndex((token, k) => k < assigned && token.text === ":" && token.depth === 0) : -1;
    const adds = /^[-+*/@|&%]$/.test(texts[assigned - 1]); // x += y keeps what x was
    const place = partOf(words, isFor, assigned);
    const parts = [];
    let inIndex = 0;
    words.forEach(({ text, name, depth }, k) => {
      if (text === "[") inIndex += 1;
      if (text === "]") inIndex -= 1;
      const part = (parts[place(k)] ??= { targets: new Map(), uses: [] });
      if (!name) return;
      const id = name.dataset.n, isKeyword = texts[k + 1] === "=" && depth > 0;
      if (isDef) {
        if (k === 1 || (depth === 1 && /^[(,*]$/.test(texts[k - 1]))) part.targets.set(id, { name, keeps: true });
      } else if (k < assigned && !(annotation >= 0 && k > annotation)) {
        const keeps = adds || texts[k + 1] === "["; // x[0] = y keeps the rest of x
        if (!inIndex && texts[k + 1] !== ".") part.targets.set(id, { name, keeps }); else part.uses.push(name);
      } else if (!isKeyword) part.uses.push(name);
    });
    const names = words.filter((token) => token.name).map((token) => token.name);
    return { indent, isBlock: texts.at(-1) === ":", names, parts: parts.filter(Boolean) };
  }
  function lastAssignment(words) {
    let at = -1;
    words.forEach(({ text, depth }, k) => {
      const beside = (words[k - 1]?.text || "") + (words[k + 1]?.text || "");
      if (text === "=" && depth === 0 && !/[<>!=]/.test(beside)) at = k;
    });
    return at;
  }
  /** A function position -> number of its part. Tuples of one length on both sides, or the targets
      and the arguments of zip, go element by element; everything else is one part. */
  function partOf(words, isFor, assigned) {
    const isZip = isFor && words[assigned + 1]?.text === "zip", level = isZip ? 1 : 0;
    const commas = (from, to, depth) => words.map((_, k) => k).filter((k) => k > from && k < to && words[k].text === "," && words[k].depth === depth);
    let right = commas(assigned, words.length, level);
    if (isZip) right = right.filter((k) => words[k + 2]?.text !== "="); // strict=True
    const left = commas(-1, assigned, 0);
    const starred = words.some(({ text, depth }, k) => text === "*" && depth === level && /^[=,(]$/.test(words[k - 1]?.text || "="));
    const chained = words.some(({ text, depth }, k) => k < assigned && text === "=" && depth === 0);
    if (assigned < 0 || (isFor && !isZip) || !left.length || left.length !== right.length || starred || chained) return () => 0;
    return (k) => (k < assigned ? left : right).filter((comma) => comma < k).length;
  }

  /** The names that are computed from what the `nth` assignment of `id` assigns. What is assigned
      anew ends; a block may be left out and a loop repeats, so nothing ends behind them. */
  function flow(list, id, nth) {
    const assigning = list.filter((s) => s.parts.some((part) => part.targets.has(id)));
    const start = assigning[Math.min(nth, assigning.length - 1)];
    const result = new Set();
    if (!start) return result;
    function step(statement, known) {
      const next = new Set(known);
      for (const { targets, uses } of statement.parts) {
        const reached = uses.filter((name) => known.has(name.dataset.n));
        for (const name of reached) result.add(name);
        for (const [target, { name, keeps }] of targets) {
          if (reached.length || (keeps && known.has(target))) { next.add(target); result.add(name); }
          else if (!keeps) next.delete(target);
        }
      }
      if (statement === start) next.add(id);
      return next;
    }
    function run(from, to, before) {
      let known = before;
      for (let k = from; k < to; k += 1) {
        known = step(list[k], known);
        let end = k + 1;
        while (end < to && list[end].indent > list[k].indent) end += 1;
        if (!list[k].isBlock || end === k + 1) continue;
        for (let size = -1; size !== known.size; ) {
          size = known.size;
          known = new Set([...known, ...run(k + 1, end, step(list[k], known))]);
        }
        k = end - 1;
      }
      return known;
    }
    run(0, list.length, new Set());
    return new Set([...result].filter((name) => name.dataset.n !== id));
  }
  /** How many assignments of its name stand before the one whose value a name has. */
  function assignmentOf(list, name) {
    const id = name.dataset.n, at = list.findIndex((s) => s.names.includes(name));
    const before = list.slice(0, at + 1).filter((s) => s.parts.some((part) => part.targets.has(id)));
    const own = list[at]?.parts.some((part) => part.targets.get(id)?.name === name);
    const assigns = before.at(-1) === list[at];
    return Math.max(0, before.length - (assigns && !own ? 2 : 1));
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
    const nth = assignmentOf(statements(code, sideOf(name)), name);
    const counts = SIDES.map((side) => {
      const twins = namesOf(code, side).filter((other) => other.dataset.n === id);
      for (const element of flow(statements(code, side), id, nth)) mark(element, "flow");
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
