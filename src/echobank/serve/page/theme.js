// Before anything is drawn: the theme that was chosen, so that the page does not flash in the other one.
(() => {
  let chosen = "";
  try { chosen = localStorage.getItem("echobank-theme") || ""; } catch { /* no storage: as the system has it */ }
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
