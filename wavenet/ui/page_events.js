// What the events of the page do in the browser. Python names these functions in `js=`.
window.pageEvents = (() => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const press = (id) => document.getElementById(id)?.click();

  // Press the first button that is shown and enabled; return whether there is one.
  function pressShown(...ids) {
    const buttons = ids.map((id) => document.getElementById(id));
    const button = buttons.find((found) => found?.offsetParent && !found.disabled);
    button?.click();
    return Boolean(button);
  }

  // Press the button that starts the job of an action on a clip, after its updates have arrived. On
  // a busy machine, a tab that is opened for the first time needs some seconds.
  async function pressActionButton() {
    const list = document.querySelector('#history .history');
    const id = list.dataset.press;
    delete list.dataset.press;
    for (let n = 0; id && n < 600; n += 1) {
      await pause(100);
      if (pressShown(...id.split(' '))) return;
    }
  }

  // Keep settings in the browser; the first value has those that are kept already.
  function keepSettings(names, kept, ...values) {
    return [{ ...kept, ...Object.fromEntries(values.map((value, n) => [names[n], value])) }];
  }

  const TAB = 'wavenet-tab';
  const chosenTab = () => (
    document.querySelector('[role=tab][aria-selected=true]')?.textContent.trim());

  // Keep the title of the chosen tab in the browser. Gradio 6.31 also triggers `select` for the first
  // tab when a page opens or changes, so the tab is read from the page itself.
  function keepTab() {
    if (!window.hasBeenUsed || !chosenTab()) return;
    try { localStorage.setItem(TAB, chosenTab()); } catch { /* no storage */ }
  }

  // Open the tab of the visit before, unless the page was opened by a link with settings or the
  // user has pressed something already. An update of gr.Tabs would select the first tab again, even
  // without a value. While a slow page is built, Gradio may select the first tab once more, so the
  // tab is opened again until it has been open for a second.
  async function openTab(pageParameters) {
    let title = null;
    try { title = localStorage.getItem(TAB); } catch { /* no storage */ }
    const others = [...new URLSearchParams(location.search).keys()]
      .filter((name) => !name.startsWith('__') && !pageParameters.includes(name));
    if (!title || others.length) return;
    let open = 0;
    for (let n = 0; n < 300 && open < 10 && !window.hasBeenUsed; n += 1) {
      const tabs = [...document.querySelectorAll('[role=tab], .overflow-dropdown button')];
      open = chosenTab() === title ? open + 1 : 0;
      if (!open) tabs.find((tab) => tab.textContent.trim() === title)?.click();
      await pause(100);
    }
  }

  // Number a job, so that the button with this id can stop it; its number and that of the one before
  // replace the first two inputs.
  function startJob(stopId, job, previous, ...rest) {
    const stop = document.getElementById(stopId);
    const last = stop.job ?? null;
    stop.job = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER); // unknown to other pages
    return [stop.job, last, ...rest];
  }

  // Return the number of the job to stop: that of the button NAME-stop. Its next step may need some
  // seconds; meanwhile the page confirms the press in NAME-status.
  function stopJob(name) {
    const note = document.querySelector(`#${name}-status .note[role="status"]`);
    if (note && note.textContent !== 'Stopped.') note.textContent = 'Stopping …';
    return document.getElementById(`${name}-stop`).job ?? null;
  }
  const stopAnalysis = () => stopJob('analysis');

  // Return the number of the scan of recordings to stop.
  const stopScan = () => document.getElementById('train-stop-scan').job ?? null;

  const player = (id = 'live-player') => document.getElementById(id)?.player;

  // Start a job of the live player; its number replaces the first input. This runs in the click
  // handler, because Safari starts audio only there. A slow page may show the button before the
  // player exists.
  async function startPlayerOf(id, job, ...rest) {
    while (!player(id)) await pause(50);
    return [player(id).start(), ...rest];
  }
  const startPlayer = (...values) => startPlayerOf('live-player', ...values);

  // Return the number of the stopped job of the live player, or null.
  const stopPlayerOf = (id) => player(id).stop();
  const stopPlayer = () => stopPlayerOf();
  // End a job of the live player whose event failed on the server.
  const failPlayerOf = (id) => player(id).fail();
  const failPlayer = () => failPlayerOf();

  // Press Watch when its tab is opened for the first time, to show an example.
  async function openWatch() {
    const button = () => document.getElementById('watch-button');
    const isReady = () => button() && !button().disabled;
    const isEmpty = () => document.querySelector('#step-viewer [data-state="empty"]');
    for (let n = 0; n < 400 && !(isEmpty() && isReady()); n += 1) {
      if (document.querySelector('#step-viewer .step-viewer') && !isEmpty()) return;
      await pause(50);
    }
    if (isEmpty() && isReady()) button().click();
  }

  // Report that an event of Watch failed on the server.
  const failWatch = () => document.getElementById('step-viewer').stepViewer.fail();

  // Look at the recordings of a run when a setting has not changed for a short time.
  let inspection;
  function inspectSoon() {
    clearTimeout(inspection);
    inspection = setTimeout(() => press('train-inspect'), 700);
  }

  // Download the zip of a model once it has been created: press the hidden button.
  function openDownload() {
    const shelf = document.querySelector('#model-shelf .shelf');
    if (shelf.dataset.action === 'download') press('package');
    delete shelf.dataset.action;
  }

  // Show the run that has started; on a phone it is below its settings.
  function showRun() {
    document.getElementById('train-state')?.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
  }

  return { failPlayer, failPlayerOf, failWatch, inspectSoon, keepSettings, keepTab, openDownload, openTab,
    openWatch, press, pressActionButton, pressShown, showRun, startJob, startPlayer, startPlayerOf, stopAnalysis,
    stopJob, stopPlayer, stopPlayerOf, stopScan };
})();
