"use strict";

// Charts: each figure holds its own specification, and a scatter another one for phones, as its labels
// are placed for one width.
const figures = [...document.querySelectorAll("figure.chart")];
const specifications = new Map(figures.map((figure) => {
  const scripts = [...figure.querySelectorAll("script")];
  return [figure, scripts.map((script) => JSON.parse(script.textContent))];
}));
const phone = matchMedia("(max-width: 760px)");
let charts = [];

async function draw() {
  for (const chart of charts) chart.finalize();
  charts = await Promise.all(figures.map((figure) => {
    const [wide, narrow] = specifications.get(figure);
    const specification = structuredClone(phone.matches && narrow || wide);
    const room = figure.clientWidth - 150; // for the names of pairs
    if (figure.id.endsWith("-pairs")) specification.width = Math.min(specification.width, Math.max(room, 150));
    return vegaEmbed(figure, specification, { renderer: "svg", actions: false });
  }));
  // The figure's own label says what the chart shows; its marks, read out one by one, would not.
  for (const figure of figures) figure.querySelector("svg").setAttribute("aria-hidden", "true");
  markScrolling();
  document.body.dataset.drawn = charts.length;
}

// What is wider than its box scrolls there, and says so.
function markScrolling() {
  for (const box of document.querySelectorAll(".chart, .wide")) {
    box.classList.toggle("scrolls", box.scrollWidth > box.clientWidth + 1);
  }
}

draw();
// A printer takes what is drawn.
phone.addEventListener("change", () => { if (!matchMedia("print").matches) draw(); });
addEventListener("resize", markScrolling);

// Tables: a click on a header sorts by it, another click the other way round.
function key(row, column) {
  const cell = row.cells[column];
  return cell.dataset.order === undefined ? cell.textContent.trim() : Number(cell.dataset.order);
}

// Text among numbers, such as the dash of an empty cell, comes last either way.
function compare(a, b, sign) {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en"));
}

function sortBy(header) {
  const descending = header.getAttribute("aria-sort") === "ascending";
  const body = header.closest("table").tBodies[0];
  const column = header.cellIndex;
  const sign = descending ? -1 : 1;
  body.append(...[...body.rows].sort((a, b) => compare(key(a, column), key(b, column), sign)));
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}

// Samples: only the rows whose name or texts have every word that is typed.
for (const input of document.querySelectorAll(".filter input")) {
  const rows = [...input.closest(".filter").nextElementSibling.querySelectorAll("details.row")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, i) => { row.hidden = !words.every((word) => texts[i].includes(word)); });
  });
}

// Two policies side by side on one prompt: what the folds hold, copied. Seeds have other prompts, so
// the policies to choose from are those that have the prompt.
function fill(select, texts) {
  const before = select.selectedIndex;
  select.replaceChildren(...texts.map((text) => new Option(text)));
  select.selectedIndex = Math.min(Math.max(before, 0), texts.length - 1);
}

for (const fields of document.querySelectorAll(".compare")) {
  const { prompt, left, right } = fields.elements;
  const prompts = new Map(); // by id, since two may read the same: {text, policies: [[name, column], ...]}
  for (const row of fields.parentElement.querySelectorAll("details.row")) {
    for (const sample of row.querySelectorAll(".sample")) {
      const id = sample.dataset.prompt;
      if (!prompts.has(id)) prompts.set(id, { text: sample.querySelector("p").textContent, policies: [] });
      prompts.get(id).policies.push([row.querySelector("summary").textContent, sample.lastElementChild]);
    }
  }
  const compared = [...prompts.values()].filter(({ policies }) => policies.length > 1);
  if (!compared.length) continue;
  const chosen = () => compared[prompt.selectedIndex].policies;

  const show = () => {
    const columns = [left, right].map((select) => {
      const [name, column] = chosen()[select.selectedIndex];
      const copy = column.cloneNode(true);
      copy.querySelector("h4").textContent = name;
      return copy;
    });
    fields.querySelector(".sample").replaceChildren(...columns);
  };
  const offer = () => {
    for (const select of [left, right]) fill(select, chosen().map(([name]) => name));
    show();
  };
  fill(prompt, compared.map(({ text }) => text));
  offer();
  const loss = ([name]) => name.split("-")[0];
  right.selectedIndex = Math.max(1, chosen().findIndex((policy) => loss(policy) !== loss(chosen()[0])));
  show();
  prompt.addEventListener("change", offer);
  for (const select of [left, right]) select.addEventListener("change", show);
  fields.hidden = false;
}
