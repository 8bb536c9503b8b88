// Feature maps and pictures: small images in one colour scale.

function luminous([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140;
}

function paint(canvas, values, stops, low, high) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  values.forEach((value, index) => {
    const colour = Number.isFinite(value) ? mixed(stops, (value - low) / (high - low)) : data.colours.missing;
    image.data.set([...colour, 255], 4 * index);
  });
  context.putImageData(image, 0, 0);
}

// Draws the images of a sample below a caption; returns the function that changes the sample.
function imageGrid(figure, maps, name, choose) {
  const { values, shape, type } = unpack(maps.values);
  const [, images, height, width] = shape;
  const size = height * width;
  const zoom = Math.max(1, Math.min(28, Math.floor((images === 1 ? 280 : 112) / Math.max(height, width))));
  const grid = element("div", { className: "images" });
  let sample = 0;
  const canvases = maps.titles.map((title, number) => {
    const canvas = element("canvas", { width, height });
    canvas.style.width = `${width * zoom}px`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${name} ${title}`);
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      const row = Math.min(height - 1, Math.floor(((event.clientY - box.top) / box.height) * height));
      const column = Math.min(width - 1, Math.floor(((event.clientX - box.left) / box.width) * width));
      const place = [...maps.fixed, row * maps.step, column * maps.step];
      if (maps.axis !== null) place.splice(maps.axis, 0, maps.entries[number]);
      const value = values[((sample * images + number) * height + Math.max(row, 0)) * width + Math.max(column, 0)];
      return { unit: `u${place.join("_")}`, value: digits(value, type) };
    };
    canvas.addEventListener("pointermove", (event) => {
      const { unit, value } = at(event);
      canvas.title = `${unit}: ${value}`;
    });
    canvas.addEventListener("click", (event) => choose?.(at(event)));
    grid.append(element("div", {}, canvas, title));
    return canvas;
  });
  figure.append(grid, scaleBar(maps.stops, maps.low, maps.high));
  return (chosen) => {
    sample = chosen;
    canvases.forEach((canvas, number) => {
      const start = (sample * images + number) * size;
      paint(canvas, values.subarray(start, start + size), maps.stops, maps.low, maps.high);
    });
  };
}
