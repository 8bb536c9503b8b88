// Inputs: pictures, numbers or texts of the chosen sample.

function input(figure, view) {
  if (view.maps) {
    figure.querySelector("figcaption").append(element("span", { className: "note", textContent: view.maps.told }));
    followers.push(imageGrid(figure, view.maps, view.name));
    if (!view.columns) return;
  }
  const numbers = view.values && unpack(view.values);
  const said = (row, column) => (numbers
    ? digits(numbers.values[row * numbers.shape[1] + column], numbers.type) : view.texts[row][column]);
  const list = element("ul", { className: "chips" });
  const place = view.maps ? element("details", {}, element("summary", { textContent: "Pixels as text" })) : figure;
  if (view.told) place.append(element("p", { className: "note", textContent: view.told }));
  place.append(list);
  if (view.maps) figure.append(place);
  followers.push((chosen) => list.replaceChildren(...view.columns.map((name, column) => element("li", {},
    element("span", {}, element("b", { textContent: name }), said(chosen, column))))));
}

for (const figure of document.querySelectorAll("[data-input]")) input(figure, data.inputs[figure.dataset.input]);
