// Drawings of the network: unit by unit, or a list of layers with lines between them.

function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function cut(text, length) {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

// Draws a chain of Dense layers; returns the function that changes the sample.
function unitDiagram(place, chain, columns, choose) {
  const kernels = chain.layers.map((layer) => unpack(layer.kernel));
  const largest = Math.max(...kernels.flatMap((kernel) => [...kernel.values].map(Math.abs))) || 1;
  const all = columns.flatMap((column) => [...column.values.values]).filter(Number.isFinite);
  const signed = Math.min(...all) < 0 && Math.max(...all) > 0;
  const stops = signed ? data.colours.diverging : data.colours.sequential;
  const high = signed ? Math.max(...all.map(Math.abs)) : Math.max(...all, 0) || 1;
  const low = signed ? -high : Math.min(...all, 0);
  let sample = 0;
  let chosen = null;

  function show() {
    const width = Math.max(330, Math.min(960, place.clientWidth || 960));
    const most = Math.max(...columns.map((column) => column.units.length));
    const narrow = width < 560;
    const radius = narrow ? 19 : most > 10 ? 20 : 25;
    const gap = most > 10 ? 2 * radius + 8 : 2 * radius + (narrow ? 22 : 26);
    const top = 54;
    const height = top + most * gap + 8;
    const left = narrow ? 68 : 120;
    const right = narrow ? 62 : 110;
    const x = (column) => left + (columns.length === 1 ? 0 : (column * (width - left - right)) / (columns.length - 1));
    const y = (column, unit) => top + (most * gap) / 2 + (unit - (columns[column].units.length - 1) / 2) * gap;
    const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "The network" });
    const lines = drawing("g", { "aria-hidden": "true" });
    const numbers = drawing("g", { "aria-hidden": "true" });
    kernels.forEach((kernel, layer) => {
      const [inputs, units] = kernel.shape;
      for (let input = 0; input < inputs; input += 1) {
        for (let unit = 0; unit < units; unit += 1) {
          const weight = kernel.values[input * units + unit];
          const strength = Math.abs(weight) / largest;
          const mine = chosen && chosen.column === layer + 1 && chosen.unit === unit;
          const [x1, y1, x2, y2] = [x(layer) + radius, y(layer, input), x(layer + 1) - radius, y(layer + 1, unit)];
          const line = drawing("line", {
            x1, y1, x2, y2, stroke: weight < 0 ? "#2f7ec4" : "#e07b1f",
            "stroke-width": 0.8 + 4.2 * strength,
            "stroke-opacity": chosen && chosen.column === layer + 1 && !mine ? 0.12 : 0.3 + 0.7 * strength,
          });
          line.append(drawing("title", {}, `weight ${digits(weight, kernel.type)}`));
          lines.append(line);
          if (mine) {
            numbers.append(drawing("text", {
              x: x1 + 0.34 * (x2 - x1), y: y1 + 0.34 * (y2 - y1) + 4, "text-anchor": "middle", class: "weight",
            }, brief(weight)));
          }
        }
      }
    });
    svg.append(lines);
    columns.forEach((column, number) => {
      const title = drawing("text", { x: x(number), y: 18, "text-anchor": "middle", class: "title" },
        cut(column.name, narrow ? 12 : 24));
      title.append(drawing("title", {}, column.name));
      svg.append(title, drawing("text", { x: x(number), y: 36, "text-anchor": "middle", class: "faint" }, column.about));
      const [, units] = column.values.shape;
      column.units.forEach((unit, index) => {
        const value = column.values.values[sample * units + index];
        const exact = digits(value, column.values.type);
        const colour = Number.isFinite(value) ? mixed(stops, (value - low) / (high - low)) : data.colours.missing;
        const is = chosen && chosen.column === number && chosen.unit === index;
        const node = drawing("g", {
          class: is ? "unit chosen" : "unit", tabindex: "0", role: "button",
          "aria-label": `${column.name} ${unit}: ${exact}`,
          "data-unit": `${number}-${index}`,
        });
        node.append(
          drawing("title", {}, `${column.name} ${unit}: ${exact}`),
          drawing("circle", { cx: x(number), cy: y(number, index), r: radius, fill: `rgb(${colour})` }),
          drawing("text", {
            x: x(number), y: y(number, index) + 4, "text-anchor": "middle",
            style: `fill: ${luminous(colour) ? "#111" : "#fff"}; font-size: ${narrow ? 10.5 : 12.5}px`,
          }, brief(value)),
        );
        const outside = number === 0 ? { x: x(0) - radius - 6, "text-anchor": "end" }
          : number === columns.length - 1 ? { x: x(number) + radius + 6, "text-anchor": "start" } : null;
        if (outside && narrow) outside.style = "font-size: 11px";
        if (outside) {
          node.append(drawing("text", { ...outside, y: y(number, index) + 4, class: "faint" }, cut(unit, narrow ? 8 : 14)));
        } else {
          node.append(drawing("text", {
            x: x(number), y: y(number, index) + radius + 13, "text-anchor": "middle", class: "faint",
          }, most > 10 ? "" : unit));
        }
        const pick = () => {
          chosen = { column: number, unit: index };
          show();
          place.querySelector(`[data-unit="${number}-${index}"]`).focus();
          choose(number, index);
        };
        node.addEventListener("click", pick);
        node.addEventListener("keydown", (event) => {
          if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(); }
        });
        svg.append(node);
      });
    });
    svg.append(numbers);
    const legend = scaleBar(stops, low, high);
    legend.prepend(element("span", { textContent: "value of a unit" }));
    const weights = scaleBar(["#2f7ec4", "#9aa0a6", "#e07b1f"], -largest, largest);
    weights.prepend(element("span", { textContent: "weight, wider where larger" }));
    place.replaceChildren(svg, weights, legend);
  }
  let before = 0;
  new ResizeObserver(() => {
    if (place.clientWidth !== before) { before = place.clientWidth; show(); }
  }).observe(place);
  return (next) => { sample = next; show(); };
}

function layerRails(graph, edges) {
  const svg = graph.querySelector(".rails");
  const items = new Map([...graph.querySelectorAll("li[data-layer]")].map((item) => [item.dataset.layer, item]));
  function visible(name) {
    let item = items.get(name);
    for (let block = item.closest("details:not([open])"); block; block = block.parentElement.closest("details:not([open])")) {
      item = block.parentElement;
    }
    return item;
  }
  function show() {
    const box = graph.getBoundingClientRect();
    const shown = [...graph.querySelectorAll("li")].filter((item) => !item.closest("details:not([open])"));
    const order = new Map(shown.map((item, index) => [item, index]));
    const middle = (item) => {
      const row = (item.querySelector(":scope > .row, :scope > details > summary")).getBoundingClientRect();
      return row.top - box.top + Math.min(row.height, 30) / 2;
    };
    const edge = svg.clientWidth - 14;
    const parts = [];
    const seen = new Set();
    for (const [from, to] of edges) {
      const [first, last] = [visible(from), visible(to)];
      const key = `${order.get(first)} ${order.get(last)}`;
      if (first === last || seen.has(key)) continue;
      seen.add(key);
      const span = order.get(last) - order.get(first);
      const [y1, y2] = [middle(first), middle(last)];
      const reach = Math.min(edge - 2, 6 + 7 * Math.abs(span));
      parts.push(drawing("path", {
        d: span === 1 ? `M${edge} ${y1}V${y2}` : `M${edge} ${y1}C${edge - reach * 1.33} ${y1} ${edge - reach * 1.33} ${y2} ${edge} ${y2}`,
      }));
    }
    if (edges.length) {
      for (const item of shown.filter((one) => one.matches("li[data-layer], .block"))) {
        parts.push(drawing("circle", { cx: edge, cy: middle(item), r: 3.5 }));
      }
    }
    svg.replaceChildren(...parts);
  }
  graph.addEventListener("toggle", show, true);
  new ResizeObserver(show).observe(graph);
}

if (part.chain) {
  const layers = part.chain.layers.map((layer) => views.find((view) => view.name === layer.name && view.kind === "activation"));
  const [given] = data.inputs;
  const columns = [
    { name: given?.name ?? "input", about: "", units: part.chain.inputs, values: unpack(given.values) },
    ...layers.map((view, index) => ({ name: view.name, about: part.chain.layers[index].activation, units: view.unit_names, values: view.cells })),
  ];
  followers.push(unitDiagram(document.getElementById("network"), part.chain, columns, (column, unit) => {
    if (column > 0) explain(layers[column - 1], layers[column - 1].unit_names[unit], valueOf(layers[column - 1], sample, unit));
    else closePanel();
  }));
} else {
  const graph = document.querySelector(".graph");
  layerRails(graph, part.edges);
  const unfold = document.getElementById("unfold");
  const blocks = [...graph.querySelectorAll("details")];
  unfold.hidden = !blocks.length;
  const name = () => { unfold.textContent = blocks.every((block) => block.open) ? "Close all blocks" : "Open all blocks"; };
  unfold.addEventListener("click", () => {
    const open = !blocks.every((block) => block.open);
    for (const block of blocks) block.open = open;
    name();
  });
  name();
}
