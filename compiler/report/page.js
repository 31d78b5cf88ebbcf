"use strict";
const root = document.documentElement;
const toggle = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
const label = () => { toggle.textContent = isDark() ? "Light" : "Dark"; };
toggle.hidden = false;
toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); });
prefersDark.addEventListener("change", label);
label();

// A column sorts by the numbers that its cells hold, otherwise by their text; cells without a number come last.
const key = (row, column) => {
  const cell = row.cells[column];
  const number = cell.querySelector("data");
  return number ? Number(number.value) : cell.textContent.trim();
};
const order = (a, b) => {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return typeof a === "number" ? a - b : a.localeCompare(b);
};
for (const table of document.querySelectorAll("table")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending";
      for (const each of headers) each.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
      rows.sort((one, other) => (down ? -1 : 1) * order(one[0], other[0]));
      table.tBodies[0].append(...rows.map((pair) => pair[1]));
    });
  });
}
