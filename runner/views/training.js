// Training: a figure of each metric's history, and the drift of the layers.

part.curves.forEach(([, figure], index) => plot(document.getElementById(`curve-${index}`), () => figure));
if (part.drift) plot(document.getElementById("drift"), () => part.drift);

