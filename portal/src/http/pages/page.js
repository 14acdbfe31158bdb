// Shows what needs a script: a button that copies, and a field that takes a file. Everything else works without.
"use strict";
for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  const status = document.getElementById("copied");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      field.select();
      document.execCommand("copy");
    }
    status.textContent = "Copied.";
  });
}
for (const choice of document.querySelectorAll("[data-file]")) {
  const field = document.getElementById(choice.dataset.file);
  choice.hidden = false;
  choice.querySelector("input").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file && file.size < 1048576) field.value = await file.text();
  });
}
