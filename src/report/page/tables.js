// Tables that are sorted by a click on a head.
{
  const sort = (table, column, down) => {
    const heads = [...table.tHead.rows[0].cells];
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
  const sorted = keep.get("sorted") || {};
  document.querySelectorAll("table.sortable").forEach((table, number) => {
    const heads = [...table.tHead.rows[0].cells];
    const choose = (column) => {
      const down = heads[column].getAttribute("aria-sort") !== "descending";
      sort(table, column, down);
      sorted[number] = [column, down];
      keep.set("sorted", sorted);
    };
    heads.forEach((head, column) => {
      head.tabIndex = 0;
      head.addEventListener("click", () => choose(column));
      head.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(column); }
      });
    });
    const [column, down] = sorted[number] || [];
    if (column < heads.length) sort(table, column, down);
  });
}
// Figures that open large.
{
  const dialog = document.getElementById("large");
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
}
