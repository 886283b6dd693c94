// One pass, step by step: the forward and then the backward, line by line, with arrow keys. The
// arrays of both panels and their difference as heat maps; the line that makes them lights up.
// Everything was recorded when the site was built; nothing is computed here but right = left - d.
(() => {
  const { $, $$, sci, escape, json, parameter, remember } = window.Diptych;
  const data = json("values-data"), strip = $("#values");
  if (!data || !data.steps.length || !strip) return;
  strip.hidden = false;
  const steps = data.steps, tape = $(".tape", strip), maps = $(".maps", strip), under = $(".under", strip);
  const follow = $(".follow", strip);
  let at = Math.min(steps.length - 1, Math.max(0, Number(parameter("step") || 1) - 1));
  let cursor = null, touched = !!parameter("step"); // a line is lit once the reader steps
  $(".about", strip).textContent = `The same weights and the same random numbers on both panels: ${data.about}.`;

  // --- arrays: rows of numbers, however they came; a long vector is read like lines of text
  const WIDE = 32;
  function grid(values, shape = []) {
    if (values === null || values === undefined) return null;
    const rows = Array.isArray(values) ? (Array.isArray(values[0]) ? values : [values]) : [[values]];
    const isColumn = rows[0].length === 1 && rows.length > WIDE;
    if (!isColumn && (rows.length > 1 || rows[0].length <= WIDE)) return rows;
    const numbers = rows.flat(), last = shape.findLast((size) => size > 1);
    const wide = isColumn && last <= WIDE && numbers.length % last === 0 ? last : WIDE;
    return Array.from({ length: Math.ceil(numbers.length / wide) }, (_, k) => numbers.slice(k * wide, (k + 1) * wide));
  }
  /** The loop whose steps are the rows of a grid: its variable, the first and the last step shown. */
  function loop(step, rows) {
    const [, name, last] = /^(\w+) = 0 … (\d+)$/.exec(step.times || "") || [];
    const count = name ? Number(last) + 1 : parseInt(step.times) || 0;
    if (count < 2 || rows < 2 || (rows > count && rows % count)) return null;
    const each = Math.max(1, rows / count); // rows of one step
    return { name: name || "run", each, last: Math.ceil(rows / each) - 1 };
  }
  const isNumber = (x) => typeof x === "number" && Number.isFinite(x);
  function extent(...grids) {
    const all = grids.flat(2).filter(isNumber);
    return all.length ? [Math.min(...all), Math.max(...all)] : [0, 0];
  }
  const short = (x) => isNumber(x) ? String(Number(x.toPrecision(4))).replace("-", "\u2212") : String(x);
  const share = (x, [low, high]) => high > low ? (x - low) / (high - low) : x ? 0.5 : 0;

  // --- the tape
  function thumbnail({ left, shape }) {
    const rows = grid(left, shape), range = extent(rows), canvas = document.createElement("canvas");
    [canvas.height, canvas.width] = [rows.length, rows[0].length];
    const scale = Math.max(1, Math.min(6, 60 / canvas.width, 34 / canvas.height));
    canvas.style.width = `${Math.max(5, Math.min(64, canvas.width * scale))}px`;
    canvas.style.height = `${Math.max(5, Math.min(38, canvas.height * scale))}px`;
    const pen = canvas.getContext("2d");
    rows.forEach((row, i) => row.forEach((x, j) => {
      pen.fillStyle = `rgba(128, 122, 112, ${isNumber(x) ? 0.12 + 0.85 * share(x, range) : 1})`;
      pen.fillRect(j, i, 1, 1);
    }));
    return canvas;
  }
  /** The line of a step, where several steps of a phase have its name. */
  const lineOf = ({ name, phase, line }) =>
    line && new Set(steps.filter((s) => s.name === name && s.phase === phase).map((s) => s.line)).size > 1 ? `line ${line}` : "";
  const buttons = steps.map((step, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "tab");
    button.innerHTML = `<b>${escape(step.name)}</b><small>${step.shape.length ? step.shape.join("×") : "scalar"}${/^\w+ =/.test(step.times) ? `, each ${step.times.split(" ")[0]}` : ""}</small>${lineOf(step) && `<small>${lineOf(step)}</small>`}`;
    button.prepend(thumbnail(step));
    button.addEventListener("click", () => move(k - at));
    return button;
  });
  // the steps within one run of a function stand together under its name
  const definition = (step) => step.group.replace(/\.\d+$/, "");
  const turn = steps.findIndex((step) => step.phase === "backward");
  const runs = [];
  for (const [k, step] of steps.entries()) {
    const key = `${step.group} ${step.name}`, name = definition(step), run = runs.at(-1);
    if (run && run.name === name && k !== turn && !run.keys.has(key)) { run.keys.add(key); run.steps.push(k); continue; }
    const visit = 1 + runs.filter((r) => r.phase === step.phase && r.name === name && r.keys.has(key)).length;
    runs.push({ name, phase: step.phase, visit, keys: new Set([key]), steps: [k] });
  }
  for (const run of runs) {
    const visits = Math.max(...runs.filter((r) => r.phase === run.phase && r.name === run.name).map((r) => r.visit));
    run.title = run.name + (visits > 1 ? ` (run ${run.visit} of ${visits})` : "");
    const box = Object.assign(document.createElement("span"), { className: "run", role: "presentation", title: run.title });
    box.innerHTML = `<small><span>${escape(run.title.split(/\.(?=\w)/).pop())}</span></small><span role="presentation"></span>`;
    box.lastChild.append(...run.steps.map((k) => buttons[k]));
    if (run.steps[0] === turn) tape.append(Object.assign(document.createElement("span"), { className: "turn-point", textContent: "backward", role: "presentation" }));
    tape.append(box);
  }
  // --- the variant chosen at the top, if it is another one than the recorded one
  const notice = Object.assign(document.createElement("p"), { className: "note other-variant" });
  notice.setAttribute("role", "status");
  tape.before(notice);
  function compareVariants() {
    const chosen = window.Diptych.variant;
    const differs = chosen && data.variant && chosen !== data.variant;
    notice.hidden = !differs;
    notice.textContent = differs ? `These values were recorded for ${data.variant}. The errors between the panels are those of the chosen variant, ${chosen}.` : "";
  }
  document.addEventListener("variant", compareVariants);
  compareVariants();
  const runOf = (k) => runs.find((run) => run.steps.includes(k));

  // --- the maps
  function map(kind, title, rows, range, subtitle, foot, steps_of_loop) {
    const wide = rows[0].length;
    if (rows.length === 1 && wide === 1) return `<div class="map"><h3>${title}<span>${subtitle}</span></h3><p class="scalar">${foot}</p></div>`;
    const low = strip.classList.contains("docked") ? 110 : 200;
    const room = (maps.clientWidth || 900) / (matchMedia("(max-width: 760px)").matches ? 2 : 3) - 36;
    const high = Math.max(3, Math.min(26, Math.floor(low / rows.length) - 1));
    const size = Math.max(3, Math.min(Math.max(24, 1.5 * high), Math.floor((room - (steps_of_loop ? 52 : 0)) / wide) - 1));
    const axis = steps_of_loop ? `<div class="axis" aria-hidden="true"><span>${steps_of_loop.name} = 0</span><span>${steps_of_loop.name} = ${steps_of_loop.last}</span></div>` : "";
    const cells = rows.flatMap((row) => row.map((x) => isNumber(x) ? `<i style="--v:${share(x, range).toFixed(3)}"></i>` : '<i class="none"></i>'));
    return `<div class="map" style="--c:var(${{ left: "--left", right: "--right", difference: "--ok" }[kind]})"><h3>${title}<span>${subtitle}</span></h3>
      <div class="grid">${axis}<div class="cells" data-kind="${kind}" role="img" tabindex="0" aria-label="${title}: ${rows.length} by ${wide} numbers, arrow keys read them" style="--h:${high}px;grid-template-columns:repeat(${wide}, minmax(0, ${size}px))">${cells.join("")}</div></div><p>${foot}</p></div>`;
  }
  const legend = ([low, high]) => low === high ? `all ${short(low)}` : `${short(low)}<span class="scale"></span>${short(high)}`;
  function render() {
    const step = steps[at], left = grid(step.left, step.shape), difference = grid(step.difference, step.shape);
    const size = step.shape.length ? `${step.part ? `${escape(step.part)} of ` : ""}(${step.shape.join(", ")})` : "scalar";
    const rounds = loop(step, left.length), title = rounds ? `${size}, each ${rounds.name}` : size;
    const one = left.length === 1 && left[0].length === 1;
    if (!difference) {
      const range = extent(left);
      maps.innerHTML = map("left", "left, NumPy", left, range, title, one ? short(left[0][0]) : legend(range), rounds) +
        '<div class="map"><h3>right, PyTorch</h3><p>The right panel keeps no such array: it is part of a larger expression, or autograd or a kernel of torch computes it.</p></div>';
      return;
    }
    const right = left.map((row, i) => row.map((x, j) => isNumber(x) ? x - difference[i][j] : x));
    const size_of = difference.map((row) => row.map((x) => isNumber(x) ? Math.abs(x) : x));
    const range = extent(left, right), most = extent(size_of)[1];
    const differ = size_of.flat().filter((x) => x !== 0).length;
    maps.innerHTML = map("left", "left, NumPy", left, range, title, one ? short(left[0][0]) : legend(range), rounds) +
      map("right", "right, PyTorch", right, range, title, one ? short(right[0][0]) : legend(range), rounds) +
      map("difference", "difference", size_of, [0, most || 1], differ ? `${differ} of ${size_of.flat().length} differ` : "",
        one ? sci(size_of[0][0], 1) : differ ? `0<span class="scale"></span>${sci(most, 1)}` : "the same to the last bit", rounds);
  }
  function show(k, focus = false) {
    at = Math.min(steps.length - 1, Math.max(0, k));
    cursor = null;
    under.textContent = "";
    const step = steps[at], group = groupOf(step);
    $(".count", strip).textContent = `${step.phase}, ${at + 1} of ${steps.length}`;
    $(".what code", strip).textContent = `${step.name}${group ? `   in ${runOf(at).title}, line ${step.line ?? $(".ln > i", group)?.textContent}` : ""}${step.times ? `, ${step.times}` : ""}`;
    showLines(step, group);
    follow.hidden = !group;
    for (const [i, button] of buttons.entries()) {
      button.setAttribute("aria-selected", i === at);
      button.tabIndex = i === at ? 0 : -1;
    }
    if (focus) buttons[at].focus({ preventScroll: true });
    tape.scrollLeft = buttons[at].offsetLeft - tape.offsetLeft - (tape.clientWidth - buttons[at].clientWidth) / 2;
    for (const old of $$(".g.now")) old.classList.remove("now");
    if (touched) group?.classList.add("now");
    render();
    if (strip.classList.contains("docked")) reveal(group);
  }
  /** The statement of a step on the left, and what stands beside it on the right. */
  function showLines(step, group) {
    const left = $$(".L > .ln", group || strip), right = $$(".R > .ln", group || strip);
    const first = Math.max(0, left.findIndex((line) => line.id === `L${step.line}`));
    let open = 0, last = first;
    for (; last < left.length; last++) { // up to the line that closes the brackets of the first
      const text = $("code", left[last]).textContent.replace(/#.*/, "");
      open += (text.match(/[([{]/g) || []).length - (text.match(/[)\]}]/g) || []).length;
      if (open <= 0) break;
    }
    const isBackward = step.phase === "backward";
    const said = $(".R > .remark", group || strip)?.textContent || $(".name em", group?.closest(".def") || strip)?.textContent || "";
    $(".lines", strip).replaceChildren(column("L", left.slice(first, last + 1), ""), column("R", isBackward ? [] : right.slice(0, 4), said || (isBackward ? "autograd does this on the right" : "")));
  }
  function column(side, lines, remark) {
    const box = Object.assign(document.createElement("div"), { className: side });
    const outer = lines.length ? Math.min(...lines.map((line) => parseInt(getComputedStyle($("code", line)).getPropertyValue("--i")) || 0)) : 0;
    box.style.setProperty("--depth", outer / 4);
    for (const line of lines) {
      const copy = line.cloneNode(true);
      for (const element of [copy, ...$$("[id], [tabindex]", copy)]) { element.removeAttribute("id"); element.removeAttribute("tabindex"); }
      box.append(copy);
    }
    if (!lines.length && remark) box.append(Object.assign(document.createElement("p"), { className: "remark", textContent: remark }));
    return box;
  }
  const groupOf = (step) => step.group && $(`.g[data-g="${CSS.escape(step.group)}"]`);
  function reveal(group) {
    if (!group) return;
    const box = group.getBoundingClientRect(), room = innerHeight - $(".player", strip).offsetHeight;
    const by = box.top - room / 2.6;
    if (box.top < 100 || box.bottom > room - 20) scrollBy({ top: by, behavior: Math.abs(by) < innerHeight ? "smooth" : "auto" });
  }
  function dock(on) {
    touched = true;
    strip.classList.toggle("docked", on);
    follow.setAttribute("aria-pressed", on);
    follow.textContent = on ? "Back to the strip" : "Show in the code";
    show(at);
    if (!on) { strip.scrollIntoView({ block: "start" }); buttons[at].focus({ preventScroll: true }); }
  }
  function move(by, focus) {
    touched = true;
    show(at + by, focus);
    remember("step", at + 1);
  }

  // --- the mouse and the keyboard
  follow.addEventListener("click", () => dock(!strip.classList.contains("docked")));
  for (const button of $$(".step", strip)) button.addEventListener("click", () => move(Number(button.dataset.step)));
  const STEP = { ArrowRight: 1, ArrowLeft: -1 };
  document.addEventListener("keydown", (event) => {
    const docked = strip.classList.contains("docked");
    if (event.key === "Escape" && docked) dock(false);
    if (event.target.closest?.(".cells")) return walk(event);
    const free = event.target === document.body || event.target.closest?.(".values");
    if (STEP[event.key] && (event.target.closest?.(".tape, .what") || (docked && free))) {
      event.preventDefault();
      move(STEP[event.key], !!event.target.closest?.(".tape"));
    }
    if (event.target.closest?.(".tape") && (event.key === "Home" || event.key === "End")) {
      event.preventDefault();
      move(event.key === "Home" ? -at : steps.length - 1 - at, true);
    }
  });
  /** Put the cursor on a cell in all three maps and read its numbers. */
  function point(index) {
    for (const cell of $$(".cursor", maps)) cell.classList.remove("cursor");
    cursor = index;
    under.textContent = "";
    if (index === null) return;
    for (const cells of $$(".cells", maps)) cells.children[index]?.classList.add("cursor");
    const left = grid(steps[at].left, steps[at].shape), wide = left[0].length, [i, j] = [Math.floor(index / wide), index % wide];
    const x = left[i][j], d = grid(steps[at].difference, steps[at].shape)?.[i][j];
    const rounds = loop(steps[at], left.length);
    const place = !rounds ? `[${i}, ${j}]` : `[${rounds.each > 1 ? `${i % rounds.each}, ` : ""}${j}] at ${rounds.name} = ${Math.floor(i / rounds.each)}`;
    under.innerHTML = `${escape(steps[at].name)}${place}   <b class="l">${short(x)}</b>` +
      (d === undefined ? "" : `   <b class="r">${isNumber(x) ? short(x - d) : x}</b>   difference <b class="ok">${sci(d, 1)}</b>`);
  }
  function walk(event) {
    const wide = grid(steps[at].left, steps[at].shape)[0].length, last = event.target.children.length - 1;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = (cursor ?? -by) + by;
    if (next >= 0 && next <= last) point(next);
  }
  maps.addEventListener("mouseover", (event) => {
    const cell = event.target.closest(".cells i");
    if (cell) point([...cell.parentElement.children].indexOf(cell));
  });
  maps.addEventListener("mouseleave", () => point(null));
  maps.addEventListener("focusin", (event) => event.target.matches(".cells") && cursor === null && point(0));
  show(at);
})();
