"use strict";
// Sort a table by the column whose header button is pressed: ascending, then descending. Cells without a value go last.
// A column whose values are not of one kind has no button.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if ("unsorted" in head.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      const key = (row) => {
        const cell = row.cells[column];
        return (cell.dataset.sort ?? cell.textContent).trim();
      };
      const empty = (text) => text === "" || text === "–";
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (empty(x) || empty(y)) return empty(x) - empty(y);
        const [p, q] = [Number(x), Number(y)];
        const numbers = !Number.isNaN(p) && !Number.isNaN(q);
        return direction * (numbers ? p - q : x.localeCompare(y, "en", { numeric: true }));
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(order));
    });
  });
}
// A long table, or one that is to be searched, gets a field that keeps the rows holding every word typed into it.
const LONG = 20;
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const rows = [...table.tBodies[0].rows];
  const name = table.dataset.search ?? "Filter rows";
  if (rows.length <= LONG && !table.dataset.search) continue;
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("output");
  label.className = "filter";
  input.type = "search";
  label.append(`${name} `, input, count);
  table.parentElement.before(label);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].includes(word));
    });
    count.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  input.addEventListener("input", show);
  show();
}
