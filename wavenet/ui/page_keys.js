// ? lists the keyboard shortcuts of the page.
document.addEventListener('keydown', (event) => {
  if (event.key !== '?' || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('input, textarea, [contenteditable]')) return;
  document.getElementById('shortcuts-dialog')?.showModal();
  event.preventDefault();
});
// Gradio 6.31 does not notice a restart of the server while the page is idle; the page then shows what
// the server no longer knows, such as the runs of before.
async function reloadAfterRestart() {
  try {
    const answer = await fetch(new URL('gradio_api/app_id', document.baseURI), { cache: 'no-store' });
    if (answer.ok && (await answer.json()).app_id !== window.gradio_config.app_id) {
      setTimeout(() => location.reload(), 500); // the chosen tab is kept first
    }
  } catch { /* no server */ }
}
window.addEventListener('focus', reloadAfterRestart);
document.addEventListener('click', (event) => {
  if (event.target.closest('[role=tab], .overflow-dropdown button')) reloadAfterRestart();
});
// Whether the user has pressed anything on this page; `navigator.userActivation` survives a reload.
for (const kind of ['pointerdown', 'keydown']) {
  document.addEventListener(kind, () => { window.hasBeenUsed = true; }, { capture: true });
}
