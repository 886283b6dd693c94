// From a name to its definition, on this page or on another: a double click, or the key g.
// The index of the search knows where names are defined; it is read when a name first lights up.
(() => {
  const { $, $$ } = window.Diptych;
  if (!$(".code")) return;
  const root = new URL("..", document.currentScript.src);
  const nameOf = (target) => target?.closest?.(".code b[data-n]");

  let places = null; // name -> [address, address, ...]
  function read() {
    if (places) return;
    places = new Map();
    const fill = () => {
      for (const [name, kind, address] of window.SEARCH || []) {
        if (!["class", "method", "function"].includes(kind)) continue;
        const last = name.split(".").pop();
        places.set(last, [...(places.get(last) || []), address]);
      }
    };
    if (window.SEARCH) return fill();
    const script = document.createElement("script"); // fetch does not work from file://
    script.src = new URL("assets/search.js", root).href;
    script.onload = fill;
    document.head.append(script);
  }

  /** Where a name is defined: on this page, or on the only other page that defines it; else null. */
  function definitionOf(name) {
    read();
    const id = name.dataset.n, own = name.closest("[id].def")?.id.split(".").slice(0, -1).join(".");
    const here = document.getElementById(`${own}.${id}`) || document.getElementById(id);
    if (here?.matches(".def")) return here.contains(name) ? null : { href: `#${here.id}`, place: "on this page" };
    const found = places.get(id) || [];
    if (found.length !== 1) return null;
    return { href: new URL(found[0], root).href, place: `in ${found[0].replace(/.*\/|\.html.*/g, "")}` };
  }
  window.Diptych.definitionOf = definitionOf;

  function go(name) {
    const definition = name && definitionOf(name);
    if (definition) location.href = definition.href;
  }
  document.addEventListener("dblclick", (event) => go(nameOf(event.target)));
  document.addEventListener("keydown", (event) => {
    if (event.key === "g" && !event.ctrlKey && !event.metaKey && !event.altKey) go(nameOf(event.target));
  });
})();
