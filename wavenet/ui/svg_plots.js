// Functions that the plots share. Each component that uses them joins them with its script.
const SVG = 'http://www.w3.org/2000/svg';

function makeSvg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Width of a box without its padding.
function innerWidth(box) {
  const { paddingLeft, paddingRight } = getComputedStyle(box);
  return Math.floor(box.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight));
}

const formatCount = (n) => n.toLocaleString('en');

// One decimal, or two significant digits below 1 ms.
function formatMilliseconds(samples, rate) {
  const milliseconds = 1000 * samples / rate;
  return `${milliseconds.toLocaleString('en', milliseconds >= 1 ? { minimumFractionDigits: 1, maximumFractionDigits: 1 }
    : { maximumSignificantDigits: 2 })} ms`;
}

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

// Decompresses the bytes that Python has compressed by zlib and encoded as base64.
async function inflate(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Calls `draw` at once, and whenever the width of the box changes.
function drawAtWidth(box, draw) {
  let drawnWidth = 0;
  new ResizeObserver(() => {
    const width = innerWidth(box);
    if (width > 0 && width !== drawnWidth) { drawnWidth = width; draw(); }
  }).observe(box);
  draw();
}
