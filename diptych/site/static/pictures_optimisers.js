/* Paths of the optimisers: the slider chooses the learning rate. */
(function () {
  "use strict";
  const element = document.getElementById("optimisers-data");
  const figure = document.getElementById("optimisers");
  if (!element || !figure) return;
  const data = JSON.parse(element.textContent);
  const rate = figure.querySelector('input[name="lr"]');
  const walks = figure.querySelectorAll("svg svg .walk");
  const sentence = figure.querySelector("[data-sentence]");
  rate.addEventListener("input", () => {
    const place = Number(rate.value);
    walks.forEach((walk, index) => walk.setAttribute("d", data.paths[place][index]));
    sentence.textContent = data.sentences[place];
  });
})();
