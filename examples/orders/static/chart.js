// A small line chart in SVG: at most a few lines over the samples of the last minute.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 34, RIGHT = 6, TOP = 20, BOTTOM = 16;

function draw(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A round number not below `most`, for the top of the scale. */
function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((each) => each >= most && each >= 4) ?? 10 * power;
}

/**
 * Draw samples. `lines` is [[key, label, number of its colour], ...]. Unknown values (null) are left out.
 */
export function chart(svg, samples, lines, kept = 120) {
  const width = svg.clientWidth || 320, height = svg.clientHeight || 150;
  const values = samples.flatMap((sample) => lines.map(([key]) => sample[key] ?? 0));
  const top = ceiling(Math.max(0, ...values));
  const x = (place) => LEFT + ((kept - samples.length + place) / (kept - 1)) * (width - LEFT - RIGHT);
  const y = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);
  const parts = [];
  for (const value of [0, top / 2, top]) {
    parts.push(draw("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    parts.push(draw("text", { class: "axis", x: LEFT - 5, y: y(value) + 3, "text-anchor": "end" }, value));
  }
  parts.push(draw("text", { class: "axis", x: LEFT, y: height - 3 }, "60 s ago"));
  parts.push(draw("text", { class: "axis", x: width - RIGHT, y: height - 3, "text-anchor": "end" }, "now"));
  let at = LEFT;
  lines.forEach(([key, label, colour], place) => {
    const look = `line line-${colour} ${place ? "dashed" : ""}`;
    const points = samples.map((sample, index) => [index, sample[key]]).filter(([, value]) => value != null);
    const path = points.map(([index, value]) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    parts.push(draw("polyline", { class: look, points: path }));
    const latest = samples.at(-1)?.[key];
    const shown = `${label} ${latest == null ? "unknown" : Math.round(latest)}`;
    parts.push(draw("line", { class: look, x1: at, x2: at + 14, y1: 8, y2: 8 }));
    parts.push(draw("text", { class: "legend", x: at + 18, y: 11.5 }, shown));
    at += 34 + shown.length * 5.6;
  });
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...parts);
}
