// Plays int16 chunks without a gap. `element`, `props`, `watch` come from gr.HTML; messages are made
// in player.py. One run at a time; its number is made here, when Generate is pressed.
const LEAD = 0.05; // seconds between scheduling the first chunk and hearing it
const CUSHION = 0.2; // seconds that must lie ready before it begins; FIRST_SECONDS in jobs.py
const MARGIN = 1.1; // what is kept in hand when the model is slower than real time
const PATIENCE = 2000; // ms without a message before the server is asked whether it is there
const ANSWER = 20000; // ms that it may take to say so: a busy one is slow, a dead one refuses at once
const GONE = 'The studio does not answer any more; start it again.';

let context = null;
let rate = (props.value && props.value.rate) || 16000;
let run = null; // null: nothing is expected, and what arrives is of a stopped run
let r = freshRun();

function freshRun() {
  return { seq: 0, made: 0, total: 0, speed: 0, queue: [], sources: [], peaks: [], next: 0,
    begin: null, gaps: 0, lost: 0, ended: false, isPlaying: false, isGone: false,
    heard: performance.now() };
}

const find = (selector) => element.querySelector(selector);

function say(state, text) {
  find('.player').dataset.state = state;
  if (find('.status').textContent !== text) find('.status').textContent = text;
}

function openContext(wanted) {
  if (!context || context.sampleRate !== wanted) {
    if (context) context.close();
    context = new AudioContext({ sampleRate: wanted });
  }
  if (context.state !== 'running') context.resume();
}

function silence() {
  for (const source of r.sources) { source.onended = null; source.stop(); }
  r.sources = [];
  r.queue = [];
}

const isComplete = () => r.ended || (r.made > 0 && r.made >= r.total);

const ahead = () => r.queue.reduce((sum, b) => sum + b.duration, 0)
  + (r.isPlaying ? Math.max(0, r.next - context.currentTime) : 0);

// Slower than real time: enough must lie ready to bridge what is still to be made.
function canPlay() {
  if (isComplete()) return true;
  const left = (r.total - r.made) / rate;
  return ahead() >= CUSHION + left * Math.max(0, MARGIN / Math.max(r.speed, 0.01) - 1);
}

function schedule() {
  if (r.isPlaying && r.next < context.currentTime) { // dry before the end
    if (!isComplete() || r.queue.length) r.gaps += 1;
    r.isPlaying = false;
  }
  if (!r.isPlaying) {
    if (!r.queue.length || !canPlay()) return;
    r.isPlaying = true;
    r.next = context.currentTime + LEAD;
    if (r.begin === null) r.begin = r.next;
  }
  for (const buffer of r.queue.splice(0)) {
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    source.onended = () => { r.sources = r.sources.filter((s) => s !== source); settle(); };
    source.start(r.next);
    r.next += buffer.duration;
    r.sources.push(source);
  }
}

function take(message) {
  const bytes = Uint8Array.from(atob(message.pcm), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const samples = new Float32Array(bytes.length / 2);
  for (let i = 0; i < samples.length; i += 1) samples[i] = view.getInt16(2 * i, true) / 32768;
  const buffer = context.createBuffer(1, samples.length, message.sr);
  buffer.copyToChannel(samples, 0);
  r.queue.push(buffer);
  const step = Math.max(1, Math.ceil(message.total / 600));
  for (let i = 0; i < samples.length; i += step) {
    let peak = 0;
    for (let k = i; k < Math.min(i + step, samples.length); k += 1) {
      peak = Math.max(peak, Math.abs(samples[k]));
    }
    r.peaks.push([(r.made + i) / message.total, peak]);
  }
  r.made += samples.length;
  r.total = message.total;
  r.speed = message.speed;
}

function receive() {
  const message = props.value;
  if (!message || typeof message !== 'object') return;
  if (message.rate) { rate = message.rate; return; }
  if (run === null || message.run !== run || message.seq < r.seq || r.isGone) return;
  r.heard = performance.now();
  if (message.error) { end('idle', message.error); return; }
  r.lost += message.seq - r.seq;
  r.seq = message.seq + 1;
  if (message.end) {
    r.ended = true;
    lock();
  } else {
    rate = message.sr;
    openContext(rate);
    take(message);
  }
  schedule();
  describe();
  settle();
}

function describe() {
  if (r.isGone) return; // which no later word may hide
  if (context && context.state !== 'running' && r.queue.length + r.sources.length) {
    say('waiting', 'Your browser holds the sound back: press Generate once more to allow it.');
  } else if (isComplete() && !r.sources.length && !r.queue.length) {
    say('waiting', 'All is made; drawing the pictures …');
  } else if (r.isPlaying) {
    say('playing', 'Playing while the model works.');
  } else if (r.queue.length && r.speed < MARGIN) {
    say('waiting', 'The model is slower than real time here: it plays as soon as no gap can follow.');
  }
}

// All was made and heard.
function settle() {
  if (run !== null && r.ended && !r.queue.length && !r.sources.length) {
    if (r.isGone) { end('gone', GONE); return; }
    const note = r.lost ? ` ${r.lost} chunks did not reach this page; the file is complete.` : '';
    end('idle', `Finished: ${(r.made / rate).toFixed(2)} s.${note}`);
  }
}

function end(state, text) {
  silence();
  run = null;
  lock();
  say(state, text);
  draw();
}

function draw() {
  const canvas = find('canvas');
  const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  const height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const pen = canvas.getContext('2d');
  const style = getComputedStyle(canvas);
  const heard = r.begin === null || !r.total ? 0
    : (r.made / rate - ahead()) / (r.total / rate);
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = style.getPropertyValue('--rest');
  pen.fillRect(0, height / 2, width, 1);
  const bar = Math.max(1, width / 600);
  const loudest = Math.max(0.001, ...r.peaks.map(([, peak]) => peak)); // quiet sound is seen as well
  for (const [x, peak] of r.peaks) {
    pen.fillStyle = style.getPropertyValue(x <= heard ? '--heard' : '--made');
    const tall = Math.max(1, (peak / loudest) * height);
    pen.fillRect(x * width, (height - tall) / 2, bar, tall);
  }
  if (run === null && !r.made) return;
  const set = (key, text) => { find(`[data-key="${key}"]`).textContent = text; };
  set('ahead', `${ahead().toFixed(1)} s`);
  set('speed', r.speed ? `${r.speed.toFixed(1)} × real time` : '–');
  set('gaps', String(r.gaps));
  set('lost', String(r.lost));
}

// One run at a time; after the last chunk, or after Stop, the next may begin.
function lock() {
  const button = document.getElementById('generate');
  if (button) button.disabled = run !== null && !r.ended;
}

const pause = (time) => new Promise((done) => setTimeout(done, time));

async function isThere() {
  try {
    const address = new URL('gradio_api/app_id', document.baseURI);
    const signal = AbortSignal.timeout(ANSWER);
    const answer = await fetch(address, { cache: 'no-store', signal });
    // A server that was started anew knows nothing of this run.
    return answer.ok && (await answer.json()).app_id === window.gradio_config.app_id;
  } catch {
    return false;
  }
}

// Gradio says nothing to a run whose server died: it would be waited for without end.
async function guard(mine) {
  const isOn = () => run === mine && !r.ended;
  while (isOn()) {
    await pause(500);
    if (!isOn() || performance.now() - r.heard < PATIENCE) continue;
    if (await isThere()) r.heard = performance.now();
    else await lose(mine);
  }
}

// What was made is played to its end. The page loads itself anew once the server is back.
async function lose(mine) {
  await pause(500); // a connection that was lost for a moment is no death
  if (run !== mine || r.ended || await isThere()) return;
  if (run !== mine || r.ended) return;
  r.isGone = true;
  r.ended = true;
  lock();
  say('gone', GONE);
  settle();
}

function animate() {
  if (run === null) return;
  if (context) { schedule(); describe(); }
  draw();
  requestAnimationFrame(animate);
}

const player = {
  start() {
    silence();
    run = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER); // no other page can stop it
    r = freshRun();
    lock();
    openContext(rate);
    say('preparing', 'Preparing …');
    find('.player').scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    animate();
    guard(run);
    return run;
  },
  // Gives the number of the run that is no longer wanted.
  stop() {
    const stopped = run;
    if (run !== null) end('idle', `Stopped after ${(r.made / rate).toFixed(2)} s were made.`);
    return stopped;
  },
  // The server failed without a word of its own.
  async settle() {
    const mine = run;
    if (!await isThere()) await lose(mine);
    if (run === mine && run !== null && !r.ended) end('idle', 'It ended early; see the message.');
  },
};
element.closest('#live-player').player = player;
watch('value', receive);
new ResizeObserver(draw).observe(find('canvas'));
draw();
