// Replaces a plot's picture by one that answers the pointer, once the reader comes near it. Where this does
// not run, the picture stays.
(() => {
  const config = JSON.parse(document.getElementById("config").textContent);
  const widths = new WeakMap();

  async function draw(figure) {
    const width = Math.floor(figure.clientWidth);
    if (!width || widths.get(figure) === width) return;
    widths.set(figure, width);
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const place = document.createElement("div");
    // Until it is drawn it has its width, and no height.
    place.style.cssText = "height: 0; overflow: hidden";
    figure.append(place);
    await vegaEmbed(place, { ...spec, width }, {
      mode: "vega-lite", renderer: "svg", actions: false, config, tooltip: { theme: "prorl", disableDefaultStyle: false },
    });
    const picture = place.querySelector("svg");
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", figure.querySelector("figcaption").textContent);
    figure.querySelectorAll(":scope > svg, :scope > div").forEach((old) => { if (old !== place) old.remove(); });
    place.style.cssText = "";
    figure.dataset.drawn = "";
  }

  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) draw(target);
  }, { rootMargin: "300px" });
  const figures = document.querySelectorAll("figure");
  figures.forEach((figure) => near.observe(figure));

  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => document.querySelectorAll("figure[data-drawn]").forEach(draw), 200);
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
})();
