/* Controls of the pictures: a switch shows one of several drawings, a slider tells its place.
   Further scripts listen to "change" and "input" on the same elements. */
(function () {
  "use strict";
  const figures = document.querySelectorAll(".picture");
  if (!figures.length) return;

  figures.forEach((figure) => {
    figure.addEventListener("change", (event) => {
      const fieldset = event.target.closest("fieldset[data-switch]");
      if (!fieldset) return;
      figure.querySelectorAll(`[data-switch-name="${fieldset.dataset.switch}"]`).forEach((panel) => {
        panel.hidden = panel.dataset.when !== event.target.value;
      });
    });
    figure.querySelectorAll(".picture-slider input").forEach((input) => {
      const texts = input.dataset.texts.split("|");
      const tell = () => {
        const text = texts[Number(input.value)];
        input.setAttribute("aria-valuetext", text);
        input.closest(".picture-slider").querySelector("output").textContent = text;
      };
      input.addEventListener("input", tell);
    });
  });
})();
