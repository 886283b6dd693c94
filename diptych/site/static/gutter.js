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
  function measurement([name, kind, shape, e64, bound64, e32, bound32, count = 1]) {
    const [error, bound] = dtype === "float64" ? [e64, bound64] : [e32, bound32];
    const compared = error !== null && error !== undefined;
    const size = !compared ? -1 : typeof error === "string" ? Infinity : error; // "inf" and "nan"
    const other = dtype === "float64" ? e32 : e64, elsewhere = !compared && other !== null && other !== undefined;
    return { name, kind, shape, error, bound, size, count, compared, elsewhere, bad: compared && !(size <= bound) };
  }
  const rowsOf = (key) => (data.rows[variant]?.[key] || []).map(measurement);
  const shapeOf = ({ shape }) => shape.length ? shape.join("×") : "scalar";
  const largest = (rows) => rows.reduce((a, b) => (b.bad && !a.bad) || (b.bad === a.bad && b.size > a.size) ? b : a);
  /** How near an error is to its bound, over four decades: the bar of a chip. */
  const nearness = ({ size, bound, bad }) =>
    bad ? 1 : size > 0 ? Math.min(1, Math.max(0.04, 1 + Math.log10(size / bound) / 4)) : 0;

  // --- chips
  const FORMS = [["value", ""], ["gradient", "∂ "], ["parameter", "∂ "], ["mask", "bits "]];
  const chipRows = new WeakMap();
  function chip(rows, sign) {
    const worst = largest(rows);
    const button = document.createElement("button");
    button.type = "button";
    button.className = `chip${worst.bad ? " bad" : !worst.compared ? " alone" : worst.size ? "" : " zero"}`;
    button.style.setProperty("--p", nearness(worst).toFixed(2));
    button.textContent = sign + (worst.compared ? sci(worst.error) : shapeOf(worst));
    button.setAttribute("aria-label", worst.compared
      ? `${worst.kind}: largest error ${sci(worst.error)} of ${rows.length} tensor${rows.length > 1 ? "s" : ""}, bound ${sci(worst.bound)}`
      : `${worst.kind} of shape ${shapeOf(worst)}; ${worst.elsewhere ? `not compared in ${dtype}` : "the right panel keeps no such array to compare"}`);
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
      $(".M", group).replaceChildren(...chips(rows));
    }
    for (const note of $$("[data-status]")) renderStatus(note);
  }
  function renderStatus(note) {
    const section = note.closest(".def"), name = note.dataset.status;
    const link = $(`.inside a[data-of="${CSS.escape(name)}"]`);
    $("small", link || document.createElement("i"))?.remove();
    const rows = $$(":scope > .code > .g .chip", section).flatMap((button) => chipRows.get(button)).filter((row) => row.compared);
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
    const [verdict, count, worst, tensor] = data.verdicts[variant]?.[dtype] || ["not measured", null, null, ""];
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
      for (const row of rowsOf(key)) if (row.compared) rows.set(`${row.kind} ${row.name}`, row);
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
    const line = (row) => `<tr><td>${escape(row.name)}${row.count > 1 ? ` <span class="s">${row.count} times</span>` : ""}</td><td class="s">${escape(row.kind)}</td><td class="s">(${row.shape.join(", ")})</td><td class="${row.bad ? "bad" : "ok"}">${row.compared ? sci(row.error, 1) : "–"}</td><td class="s">${row.compared ? sci(row.bound) : ""}</td></tr>`;
    const [verdict, , , , reproducer] = data.verdicts[variant]?.[dtype] || [];
    const failed = rows.some((row) => row.bad) && reproducer ? `<p class="bad">${escape(verdict)}</p><code class="command">${escape(reproducer)}</code>` : "";
    return `<p>‖left − right‖ / ‖right‖, ${escape(variant)}, ${dtype}</p><table><tr><th>tensor</th><th>kind</th><th>shape</th><th>error</th><th>bound</th></tr>${shown.map(line).join("")}</table>${
      sorted.some((row) => row.elsewhere) ? `<p>Only a shape: not compared in ${dtype}.</p>` : ""}${
      sorted.every((row) => row.compared || row.elsewhere) ? "" : "<p>Only a shape: the right panel keeps no such array, because this is part of a larger expression there or is computed by autograd or by a kernel of torch. What is computed from it is compared.</p>"}${
      sorted.length > shown.length ? `<p>and ${sorted.length - shown.length} more with smaller errors</p>` : ""}${failed}`;
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
  document.addEventListener("mouseover", (event) => chipRows.has(chipOf(event)) ? !kept && show(chipOf(event)) : !kept && !tip.hidden && !chipRows.has(document.activeElement) && hide());
  document.addEventListener("focusin", (event) => { if (chipRows.has(chipOf(event))) { if (kept !== chipOf(event)) hide(); show(chipOf(event)); } });
  document.addEventListener("focusout", (event) => chipOf(event) && !kept && hide());
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
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
      fact("meaning", (picker.title = picker.selectedOptions[0].title));
    }
    toggle(dtypes, dtypes.find((button) => button.dataset.dtype === dtype));
    hide();
    renderGutter();
    renderFacts();
    renderRug();
  }
  picker?.addEventListener("change", () => {
    variant = picker.value;
    remember("variant", variant === data.variants[0] ? null : variant);
    render();
  });
  for (const button of dtypes)
    button.addEventListener("click", () => {
      dtype = button.dataset.dtype;
      remember("dtype", dtype === "float64" ? null : dtype);
      render();
    });
  render();
})();
