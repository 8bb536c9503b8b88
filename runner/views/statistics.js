// Lists the columns of a wide table that lie beyond its right edge.
function cueColumns(frame) {
  const [scroller, cue] = [frame.querySelector(".scroll"), frame.nextElementSibling];
  const show = () => {
    const edge = scroller.getBoundingClientRect().right;
    const beyond = [...scroller.querySelectorAll("thead th")].filter((one) => one.getBoundingClientRect().right > edge + 4);
    if (beyond.length) frame.dataset.more = "";
    else delete frame.dataset.more;
    const [first] = beyond;
    cue.textContent = first ? `Scroll to the right for ${beyond.map((one) => one.textContent.trim()).join(", ")}.` : "";
  };
  scroller.addEventListener("scroll", show, { passive: true });
  new ResizeObserver(show).observe(scroller);
}
for (const frame of document.querySelectorAll(".cued")) cueColumns(frame);
