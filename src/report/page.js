for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const sort = (column) => {
    const down = heads[column].getAttribute("aria-sort") !== "descending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[column];
      const own = cell.dataset.value !== undefined ? Number(cell.dataset.value) : NaN;
      return Number.isNaN(own) ? cell.textContent.trim() : own;
    };
    const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
    const number = (value) => typeof value === "number";
    rows.sort(([a], [b]) => {
      if (number(a) !== number(b)) return number(a) ? -1 : 1;
      const order = number(a) ? a - b : a.localeCompare(b, "en", { numeric: true });
      return down === number(a) ? -order : order;
    });
    rows.forEach(([, row]) => table.tBodies[0].append(row));
  };
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(column));
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(column); }
    });
  });
}
const dialog = document.querySelector("dialog");
for (const button of document.querySelectorAll("figure button")) {
  button.addEventListener("click", () => {
    const image = button.querySelector("img");
    const large = dialog.querySelector("img");
    large.src = image.src;
    large.alt = image.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
