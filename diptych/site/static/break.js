// "Break it": one fault at a time, by click, by arrow keys and by address (break.html#NAME).
// And on every study page with ?broken=NAME: the planted line and the first divergence in red.
(() => {
  const faults = [...document.querySelectorAll("article.fault")];
  const name = new URLSearchParams(location.search).get("broken");
  if (faults.length) browse(faults);
  else if (name && document.querySelector("[data-g]")) load(() => mark(window.BREAKS?.[name]));

  // --- the page of all faults
  function browse(articles) {
    const links = [...document.querySelectorAll(".faults a")];
    const names = articles.map((article) => article.id);

    function show(id) {
      const current = names.includes(id) ? id : names[0];
      for (const article of articles) article.hidden = article.id !== current;
      for (const link of links) {
        if (link.hash.slice(1) === current) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
      return current;
    }
    function go(id) {
      history.replaceState(null, "", `#${show(id)}`);
    }
    show(location.hash.slice(1));
    addEventListener("hashchange", () => show(location.hash.slice(1)));
    // print and find in page need all of them
    addEventListener("beforeprint", () => articles.forEach((article) => (article.hidden = false)));
    addEventListener("afterprint", () => show(location.hash.slice(1)));

    document.querySelector(".faults").addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go(link.hash.slice(1));
      if (innerWidth <= 760) document.getElementById(link.hash.slice(1)).scrollIntoView();
    });
    document.querySelector(".faults").addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const at = links.indexOf(document.activeElement);
      if (!step || at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const link = links[(at + step + links.length) % links.length];
      link.focus();
      go(link.hash.slice(1));
    });
  }

  // --- a study page
  function load(done) {
    const script = document.createElement("script");
    script.src = "../assets/breaks.js";
    script.onload = done;
    document.head.append(script);
  }

  function element(tag, options = {}, ...children) {
    const result = Object.assign(document.createElement(tag), options);
    result.append(...children);
    return result;
  }

  function mark(fault) {
    if (!fault) return;
    const here = location.pathname.split("/").pop().replace(/\.html$/, "");
    const marked = [];
    for (const [slug, group, kind, ...rest] of fault.marks) {
      if (slug !== here) continue;
      const row = document.getElementById(group);
      if (!row) continue;
      row.classList.add("broken", `broken-${kind}`);
      row.querySelector(".M")?.prepend(sign(kind));
      (row.lastNote || row).after((row.lastNote = note(fault, kind, rest)));
      if (kind === "planted") {
        for (const line of rest[3]) {
          document.getElementById(rest[0][0].toUpperCase() + line)?.classList.add("broken-line");
        }
      }
      marked.push(row);
    }
    window.Diptych?.showFault?.(fault);
    bar(fault, here);
    const wanted = decodeURIComponent(location.hash.slice(1));
    const target = marked.find((row) => row.dataset.g === wanted) || marked[0];
    if (!target) return;
    target.tabIndex = -1;
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: "center" });
  }

  function sign(kind) {
    const text = { planted: "planted", call: "diverges", first: "diverges" }[kind];
    return element("span", { className: "broken-sign", textContent: text });
  }

  function note(fault, kind, [side, before, after]) {
    const box = element("div", { className: "broken-note" });
    box.setAttribute("role", "note");
    if (kind === "planted") {
      box.append(element("p", {}, `Planted here, on the ${side}: ${fault.title}.`));
      const code = element("pre");
      for (const [tag, text, mark] of [["del", before, "− "], ["ins", after, "+ "]]) {
        for (const line of text.split("\n").filter(Boolean)) {
          code.append(element(tag, {}, mark + line), "\n");
        }
      }
      box.append(code);
    } else if (kind === "first") {
      box.append(element("p", {}, element("b", { className: "bad" }, "First divergence: "), fault.first));
    } else {
      box.append(element("p", {}, "The first divergence lies within this call: ", fault.first));
    }
    return box;
  }

  function bar(fault, here) {
    const name = new URLSearchParams(location.search).get("broken");
    const box = element("aside", { className: "broken-bar" });
    box.setAttribute("aria-label", "Planted fault");
    const verdict = fault.verdict.replace(`${fault.pair}: `, "");
    const links = element("p", { className: "links" });
    box.append(
      element("p", {}, element("b", {}, fault.title), element("code", {}, fault.command)),
      element("p", {}, verdict),
    );
    if (fault.witness) box.append(element("p", {}, "This test fails: ", element("code", {}, fault.witness)));
    box.append(links);
    const labels = { planted: "the planted line", call: "a call on the way", first: "the first divergence" };
    const kinds = new Map(); // of each address; a line may be planted and diverge
    for (const [slug, group, kind] of fault.marks) {
      const address = `${slug}.html?broken=${name}#${group}`;
      kinds.set(address, (kinds.get(address) || new Set()).add(labels[kind]));
    }
    for (const [address, texts] of kinds) {
      const [slug, group] = address.split(/\.html.*#/);
      const text = [...texts].join(", ") + (slug === here ? "" : ` (${slug})`);
      const link = element("a", { href: address, textContent: text });
      if (slug === here) link.addEventListener("click", (event) => {
        event.preventDefault();
        document.getElementById(group)?.scrollIntoView({ block: "center" });
      });
      links.append(link);
    }
    links.append(element("a", { href: `break.html#${name}`, textContent: "all faults" }));
    links.append(element("a", { href: `${here}.html`, textContent: "without the fault" }));
    document.querySelector("main").append(box);
  }
})();
