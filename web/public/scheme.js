// Runs before anything is painted, so that a dark page never flashes white. It is a file of its own
// because the Console's content security policy allows no inline scripts.
(() => {
  let scheme = null;
  try {
    scheme = localStorage.getItem("cnnf-color-scheme");
  } catch {
    // Storage may be switched off; then the system's preference holds.
  }
  if (scheme !== "dark" && scheme !== "light") {
    scheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }
  document.documentElement.setAttribute("data-mantine-color-scheme", scheme);
  document.documentElement.style.backgroundColor = scheme === "dark" ? "#0a0f16" : "#f5f7fa";
})();
