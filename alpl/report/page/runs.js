"use strict";
(() => {
  const fields = document.querySelectorAll("#filter select, #filter input");
  const lines = document.querySelectorAll("#runs tbody tr");
  const shown = document.getElementById("shown");
  const apply = () => {
    let number = 0;
    for (const line of lines) {
      line.hidden = ![...fields].every((field) => {
        const value = line.dataset[field.name];
        return field.tagName === "SELECT" ? field.value === "" || value === field.value
                                          : value.includes(field.value.toLowerCase());
      });
      number += line.hidden ? 0 : 1;
    }
    shown.textContent = `${number} of ${lines.length}`;
  };
  for (const field of fields) field.addEventListener("input", apply);
  document.getElementById("filter").hidden = false;
  apply();
})();
