// The gutter: what the last parity run measured, at the line that computes it, for the chosen
// variant and precision; the strip of all errors in the head of the page.
(() => {
  const { $, $$, sci, escape, json, parameter, remember, toggle } = window.Diptych;
  const data = json("measured-data");
  if (!data || !data.variants.length) return;
  const tip = $("#tip");
  const picker = $(".variant"), dtypes = $$("[data-dtype]");
  let variant = data.variants.includes(parameter("variant")) ? parameter("variant") : data.variants[0];
  let dtype = parameter("dtype") === "float32" ? "float32" : "float64";

  /** A row of the JSON as an object, for the chosen precision. An array that is not compared by
      itself, only what follows from it, has no error: size -1. */
  function measurement([name, kind, shape, e64, bound64, e32, bound32, count = 1, evaluations = 0], key) {
    const [error, bound] = dtype === "float64" ? [e64, bound64] : [e32, bound32];
    const compared = error !== null && error !== undefined;
    const size = !compared ? -1 : typeof error === "string" ? Infinity : error; // "inf" and "nan"
    const other = dtype === "float64" ? e32 : e64, elsewhere = !compared && other !== null && other !== undefined;
    const row = { key, name, kind, shape, error, bound, size, count, evaluations, compared, elsewhere, bad: compared && !(size <= bound) };
    return withFault(row);
  }
  const rowsOf = (key, of = variant) => (data.rows[of]?.[key] || []).map((row) => measurement(row, key));
  /** The first other variant of this page that compares what a row is about: [variant, its row]. */
  function comparedIn({ key, name, kind }) {
    for (const other of data.variants) {
      const row = other !== variant && rowsOf(key, other).find((r) => r.name === name && r.kind === kind && r.compared);
      if (row) return [other, row];
    }
    return null;
  }

  // --- a planted fault (break.js): the rows of its report count; what stands at statements was
  // measured without it
  let fault = null;
  const reported = () => fault && variant === fault.pair && dtype === "float64";
  const isStatement = (key) => /\.\d+$/.test(key);
  function withFault(row) {
    if (!fault) return row;
    if (isStatement(row.key) || !reported()) return { ...row, stale: true, bad: false };
    const failure = fault.failures.find(([kind, name]) => kind === row.kind && name === row.name);
    if (!failure) return row;
    const size = typeof failure[2] === "string" ? Infinity : failure[2];
    return { ...row, compared: true, error: failure[2], size, bound: row.bound ?? 0, bad: true };
  }
  const shapeOf = ({ shape }) => shape.length ? shape.join("×") : "scalar";
  const boundOf = ({ bound }) => bound ? sci(bound) : "exact"; // masks and numbers of tokens
  const largest = (rows) => rows.reduce((a, b) => (b.bad && !a.bad) || (b.bad === a.bad && b.size > a.size) ? b : a);
  /** How near an error is to its bound, over four decades: the bar of a chip. */
  const nearness = ({ size, bound, bad }) =>
    bad ? 1 : size > 0 ? Math.min(1, Math.max(0.04, 1 + Math.log10(size / bound) / 4)) : 0;

  // --- chips
  const FORMS = [["value", ""], ["gradient", "∂ "], ["parameter", ""], ["mask", "bits differ "]];
  const chipRows = new WeakMap();
  function chip(rows, sign) {
    const worst = largest(rows);
    const button = document.createElement("button");
    button.type = "button";
    const looks = worst.stale ? (worst.compared ? " stale" : " stale alone") : worst.bad ? " bad" : !worst.compared ? " alone" : worst.size ? "" : " zero";
    button.className = `chip${looks}`;
    if (!worst.stale) button.style.setProperty("--p", nearness(worst).toFixed(2));
    const equal = worst.kind === "mask" && worst.size === 0;
    button.textContent = equal ? "equal bits" : (worst.compared ? sign : sign.replace("differ ", "")) + (worst.compared ? sci(worst.error) : shapeOf(worst));
    button.setAttribute("aria-label", worst.compared
      ? `${worst.stale ? "measured without the fault, " : ""}${worst.kind}: largest error ${sci(worst.error)} of ${rows.length} tensor${rows.length > 1 ? "s" : ""}, bound ${boundOf(worst)}`
      : `${worst.kind} of shape ${shapeOf(worst)}; ${worst.elsewhere ? `not compared in ${dtype}` : "not compared in this variant"}`);
    chipRows.set(button, rows);
    return button;
  }
  function chips(rows) {
    const bySign = new Map();
    for (const row of rows) {
      const sign = (FORMS.find(([kind]) => row.kind.includes(kind)) || FORMS[0])[1];
      bySign.set(sign, [...(bySign.get(sign) || []), row]);
    }
    return [...bySign].map(([sign, some]) => chip(some, sign));
  }
  function renderGutter() {
    for (const group of $$(".g[data-g]")) {
      const key = group.dataset.g;
      const rows = rowsOf(key).concat(group.matches(".head") ? rowsOf(group.parentElement.dataset.def) : []);
      const place = $(".M", group);
      for (const old of $$(":scope > .chip", place)) old.remove(); // the sign of a fault stays
      place.append(...chips(rows));
    }
    for (const note of $$("[data-status]")) renderStatus(note);
  }
  function renderStatus(note) {
    const section = note.closest(".def"), name = note.dataset.status;
    const link = $(`.inside a[data-of="${CSS.escape(name)}"]`);
    $("small", link || document.createElement("i"))?.remove();
    const rows = $$(":scope > .code > .g .chip", section).flatMap((button) => chipRows.get(button)).filter((row) => row.compared && !row.stale);
    note.replaceChildren();
    if (rows.length) {
      const worst = largest(rows);
      note.innerHTML = `${rows.length} tensor${rows.length > 1 ? "s" : ""}, largest error <b class="${worst.bad ? "bad" : ""}">${sci(worst.error)}</b>`;
      link?.insertAdjacentHTML("beforeend", `<small class="${worst.bad ? "bad" : ""}">${sci(worst.error)}</small>`);
    } else if (data.not_reached?.includes(name)) note.textContent = "not reached by this run";
  }

  // --- the head: verdict, largest error, every error up to its bound
  const fact = (name, text, css = "") => {
    const place = $(`[data-fact="${name}"]`);
    if (place) { place.textContent = text; place.className = place.className.replace(/\b(ok|bad)\b/g, "").trim(); if (css) place.classList.add(css); }
  };
  function renderFacts() {
    let [verdict, count, worst, tensor] = data.verdicts[variant]?.[dtype] || ["not measured", null, null, ""];
    if (fault && !reported()) [verdict, count, worst, tensor] = ["not measured with this fault", null, null, ""];
    else if (fault?.failures.length) {
      const size = ([, , error]) => typeof error === "string" ? Infinity : error;
      [, tensor, worst] = fault.failures.reduce((a, b) => size(b) > size(a) ? b : a);
      verdict = fault.verdict;
    }
    const agrees = verdict === "agrees";
    fact("dtype", dtype);
    fact("verdict", agrees ? "Agrees" : worst === null ? "Not measured" : "Diverges", agrees ? "ok" : worst === null ? "" : "bad");
    fact("tensors", count === null ? "" : `${count} tensors, ${variant}`);
    fact("worst", worst === null ? "–" : sci(worst, 1));
    fact("tensor", tensor || "");
  }
  function allRows() {
    const rows = new Map();
    for (const key of Object.keys(data.rows[variant] || {}))
      for (const row of rowsOf(key)) if (row.compared && !row.stale) rows.set(`${row.kind} ${row.name}`, row);
    return [...rows.values()];
  }
  function renderRug() {
    const place = $("#rug"), rows = allRows();
    if (!place) return;
    if (!rows.length) return void place.replaceChildren();
    const bounds = rows.map((row) => row.bound).filter((bound) => bound > 0);
    const one = bounds.every((bound) => bound === bounds[0]) ? bounds[0] : null; // one bound for all: absolute errors
    const low = -5.2, WIDTH = 420, x = (ratio) => 8 + (Math.min(0.45, Math.max(low, ratio > 0 ? Math.log10(ratio) : low)) - low) / (0.45 - low) * (WIDTH - 16);
    const stack = {};
    const dots = rows.sort((a, b) => a.size - b.size).map((row) => {
      const at = Math.round(x(row.size / (row.bound || 1)) / 5) * 5;
      stack[at] = (stack[at] ?? -1) + 1;
      return `<circle class="${row.bad ? "bad" : ""}" r="2.1" cx="${at}" cy="${(46 - 3.6 * (stack[at] % 12)).toFixed(1)}"><title>${escape(row.kind)} ${escape(row.name)}: ${sci(row.error, 1)}, bound ${sci(row.bound, 1)}</title></circle>`;
    });
    const ticks = [-5, -4, -3, -2, -1, 0].map((power) => {
      const text = power === -5 ? "0" : one ? sci(one * 10 ** power) : power ? `bound / 1e${-power}` : "";
      return one || power === -5 || power % 2 ? `<text x="${x(power === -5 ? 0 : 10 ** power)}" y="63" text-anchor="middle">${text}</text>` : "";
    });
    place.innerHTML = `<svg viewBox="0 0 ${WIDTH} 66" preserveAspectRatio="xMinYMid" role="img" aria-label="Errors of ${rows.length} tensors on a logarithmic axis up to their bound">
      <line x1="0" x2="${WIDTH}" y1="50.5" y2="50.5"/>${dots.join("")}${ticks.join("")}
      <line class="bound" x1="${x(1)}" x2="${x(1)}" y1="2" y2="50"/><text x="${x(1) - 5}" y="10" text-anchor="end">bound</text></svg>`;
  }

  // --- the tooltip of a chip: hover or focus shows it, a click keeps it, Escape closes it
  let kept = null;
  function table(rows) {
    const sorted = [...rows].sort((a, b) => b.bad - a.bad || b.size - a.size), shown = sorted.slice(0, 14);
    const line = (row) => `<tr><td>${escape(row.name)}${executions(row)}</td><td class="s">${escape(row.kind)}</td><td class="s">(${row.shape.join(", ")})</td><td class="${row.bad ? "bad" : row.compared && !row.stale ? "ok" : "s"}">${row.compared ? sci(row.error, 1) : "shape only"}</td><td class="s">${row.compared ? boundOf(row) : ""}</td></tr>`;
    const [verdict, , , , reproducer] = data.verdicts[variant]?.[dtype] || [];
    const failed = rows.some((row) => row.bad) && reproducer ? `<p class="bad">${escape(verdict)}</p><code class="command">${escape(reproducer)}</code>` : "";
    const stale = rows.some((row) => row.stale) ? "<p><b>Not measured with this fault.</b> These are the errors without it.</p>" : "";
    return `${stale}<p>‖left − right‖ / ‖right‖, ${escape(variant)}, ${dtype}</p><table><tr><th>tensor</th><th>kind</th><th>shape</th><th>error</th><th>bound</th></tr>${shown.map(line).join("")}</table>${
      sorted.some((row) => row.elsewhere) ? `<p>Shape only: not compared in ${dtype}.</p>` : ""}${
      alone(sorted.filter((row) => !row.compared && !row.elsewhere))}${
      sorted.length > shown.length ? `<p>and ${sorted.length - shown.length} more with smaller errors</p>` : ""}${failed}`;
  }
  function executions({ count, evaluations }) {
    if (count < 2 && !evaluations) return "";
    const mode = !evaluations ? "" : evaluations === count ? ", in evaluation mode" : `, ${evaluations} in evaluation mode`;
    return ` <span class="s">${count} execution${count > 1 ? "s" : ""}${mode}</span>`;
  }
  /** About rows of which this variant has the shape alone: where they are compared, else why not. */
  function alone(rows) {
    if (!rows.length) return "";
    const places = new Map();
    const rest = [];
    for (const row of rows) {
      const [other, twin] = comparedIn(row) || [];
      if (!other) rest.push(row.name);
      else places.set(other, [...(places.get(other) || []), `${escape(row.name)} ${sci(twin.error, 1)}`]);
    }
    const elsewhere = [...places].map(([other, errors]) =>
      `<p>Compared in <button type="button" class="switch" data-variant="${escape(other)}">${escape(other)}</button>: <code>${errors.join(", ")}</code></p>`);
    const why = "The right panel keeps no such array: it is part of a larger expression there, or autograd or a kernel of torch computes it. What is computed from it is compared.";
    const lone = rest.length ? `<p>${places.size ? `In no variant of this page: <code>${escape(rest.join(", "))}</code>. ` : ""}${why}</p>` : "";
    return `<p>Shape only: not compared in this variant.</p>${elsewhere.join("")}${lone}`;
  }
  function show(button) {
    tip.innerHTML = table(chipRows.get(button));
    tip.hidden = false;
    button.setAttribute("aria-describedby", "tip");
    const at = button.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const x = Math.min(Math.max(12, at.left + at.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 12);
    const below = at.bottom + own.height + 12 < innerHeight || at.top < own.height + 12;
    tip.style.left = `${x + scrollX}px`;
    tip.style.top = `${(below ? at.bottom + 7 : at.top - own.height - 7) + scrollY}px`;
  }
  function hide() {
    tip.hidden = true;
    $("[aria-describedby='tip']")?.removeAttribute("aria-describedby");
    if (kept) { kept.removeAttribute("aria-expanded"); kept = null; }
  }
  const chipOf = (event) => event.target.closest?.(".chip");
  /** The tooltip follows the mouse; on the way from a chip to a button of its tooltip it stays. */
  let leaving = 0;
  document.addEventListener("mouseover", (event) => {
    clearTimeout(leaving);
    if (kept || event.target.closest?.("#tip")) return;
    if (chipRows.has(chipOf(event))) show(chipOf(event));
    else if (!tip.hidden && !chipRows.has(document.activeElement)) leaving = setTimeout(() => kept || hide(), 200);
  });
  document.addEventListener("focusin", (event) => { if (chipRows.has(chipOf(event))) { if (kept !== chipOf(event)) hide(); show(chipOf(event)); } });
  document.addEventListener("focusout", (event) => chipOf(event) && !kept && hide());
  const described = () => $("[aria-describedby='tip']");
  document.addEventListener("keydown", (event) => {
    if (tip.hidden) return;
    const inside = tip.contains(document.activeElement), chip = described(), first = $("button", tip);
    if (event.key === "Escape") {
      if (inside) chip?.focus();
      hide();
    } else if (event.key === "Tab" && first && chip) { // the tooltip follows its chip, wherever it stands
      if (!inside && document.activeElement === chip && !event.shiftKey) {
        event.preventDefault();
        kept = chip;
        chip.setAttribute("aria-expanded", "true");
        first.focus();
      } else if (inside) {
        const others = $$("button", tip), next = others[others.indexOf(document.activeElement) + (event.shiftKey ? -1 : 1)];
        if (next || event.shiftKey) event.preventDefault();
        (next || chip).focus(); // from the chip, the Tab goes on to what follows
      }
    }
  });
  tip.addEventListener("click", (event) => {
    const button = event.target.closest("[data-variant]");
    if (!button) return;
    const [{ key, kind }] = chipRows.get(described());
    choose(button.dataset.variant);
    const same = (chip) => chipRows.get(chip).some((row) => row.key === key && row.kind === kind);
    $$(".g .chip").find((chip) => chipRows.has(chip) && same(chip))?.focus({ preventScroll: true });
  });
  document.addEventListener("click", (event) => {
    const button = chipOf(event);
    if (event.target.closest("#tip")) return;
    const again = button && kept === button;
    hide();
    if (!chipRows.has(button) || again) return;
    show((kept = button));
    button.setAttribute("aria-expanded", "true");
  });

  // --- the switches
  function render() {
    if (picker) {
      picker.value = variant;
      fact("meaning", (picker.title = picker.selectedOptions[0]?.title || ""));
    }
    toggle(dtypes, dtypes.find((button) => button.dataset.dtype === dtype));
    hide();
    renderGutter();
    renderFacts();
    renderRug();
    window.Diptych.variant = variant;
    document.dispatchEvent(new CustomEvent("variant"));
  }
  function choose(name) {
    if (!data.variants.includes(name)) return;
    variant = name;
    remember("variant", variant === data.variants[0] ? null : variant);
    render();
  }
  picker?.addEventListener("change", () => choose(picker.value));
  window.Diptych.showFault = (planted) => {
    fault = planted;
    if (data.variants.includes(fault.pair)) choose(fault.pair); else render();
  };
  for (const button of dtypes)
    button.addEventListener("click", () => {
      dtype = button.dataset.dtype;
      remember("dtype", dtype === "float64" ? null : dtype);
      render();
    });
  render();
})();
