// The attention map of the step in view: rows are the heads of the blocks, columns past samples.
// `data`, `current` and `find` are those of step_viewer.js; attention_message.py builds the values.
const WAVE_HEIGHT = 44; // of the waveform above the map
const BLOCK_GAP = 3; // pixels between the rows of two blocks

let attended = { row: 0, column: 0 }; // the selected weight; column 0 is the newest

const mapRows = ({ blocks, heads }) => blocks * heads;
const rowHeight = (map) => Math.max(3, Math.min(14, Math.floor(240 / mapRows(map))));
const mapHeight = (map) => mapRows(map) * rowHeight(map) + (map.blocks - 1) * BLOCK_GAP;
// Distance of the lower end of a row from the lower end of the map; block 1 is at the bottom.
const rowBottom = (map, row) => row * rowHeight(map) + Math.floor(row / map.heads) * BLOCK_GAP;

// The samples of a column, counted back from the predicted one.
const agesOf = ({ width, past }, column) => [column * width + 1, Math.min(past, (column + 1) * width)];
// The position before the first sample has the start code; there are none before it.
const isInClip = (map, column) => agesOf(map, column)[0] <= data.first + current + 1;

const levelsOf = (map, row) => {
  const begin = (current * mapRows(map) + row) * map.columns;
  return map.levels.subarray(begin, begin + map.columns);
};

function formatWeight(level, { decades }) {
  return level ? String(Number((10 ** (decades * ((level - 1) / 254 - 1))).toPrecision(2))) : `below ${10 ** -decades}`;
}

function paintWeights(canvas, map) {
  const [height, size] = [mapHeight(map), rowHeight(map)];
  canvas.width = map.columns;
  canvas.height = height;
  const context = canvas.getContext('2d');
  const image = context.createImageData(map.columns, height);
  for (let row = 0; row < mapRows(map); row += 1) {
    const levels = levelsOf(map, row);
    const top = height - rowBottom(map, row) - size;
    for (let column = 0; column < map.columns && isInClip(map, column); column += 1) {
      const pixel = [...colour(levels[column] / 255), 255];
      for (let y = top; y < top + size; y += 1) image.data.set(pixel, 4 * (y * map.columns + map.columns - 1 - column));
    }
  }
  context.putImageData(image, 0, 0);
}

// The waveform of the samples of the map.
function drawPast(map) {
  const { svg, width, inner } = resetSvg('.past', WAVE_HEIGHT);
  const newest = data.context + current - 1;
  const peak = Math.max(0.002, data.waveform.reduce((a, b) => Math.max(a, Math.abs(b)), 0));
  const x = (age) => width - RIGHT - inner * (age - 0.5) / (map.width * map.columns);
  const y = (value) => WAVE_HEIGHT / 2 * (1 - 0.95 * value / peak);
  let line = '';
  for (let age = 1; age <= Math.min(map.past, newest + 1); age += 1) {
    line += `${line ? 'L' : 'M'}${x(age).toFixed(1)} ${y(data.waveform[newest - age + 1]).toFixed(1)}`;
  }
  svg.append(makeSvg('path', { class: 'axis', d: `M${LEFT} ${WAVE_HEIGHT / 2}H${width - RIGHT}` }),
    makeSvg('path', { class: 'line', d: line }));
}

// Ages of the columns in samples and in milliseconds.
function drawAges(map) {
  const { svg, width, inner } = resetSvg('.ages', 34);
  const samples = map.width * map.columns;
  const x = (age) => width - RIGHT - inner * (age - 0.5) / samples;
  for (const [unit, y, size] of [['samples', 14, 1], ['ms', 29, data.rate / 1000]]) {
    const wanted = samples / size / Math.max(3, Math.floor(inner / 80));
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= wanted);
    svg.append(makeSvg('text', { class: 'end', x: LEFT - 6, y }, unit));
    for (let value = step; value * size <= samples * 0.98; value += step) {
      const label = `−${Number(value.toPrecision(6)).toLocaleString('en')}`;
      svg.append(makeSvg('text', { class: 'middle', x: Math.max(LEFT + 14, x(value * size)), y }, label));
      if (size === 1) svg.append(makeSvg('path', { class: 'axis', d: `M${x(value)} 0v3` }));
    }
  }
}

// Names the blocks beside their rows.
function labelBlocks(box, map) {
  const step = Math.ceil(14 / (map.heads * rowHeight(map) + BLOCK_GAP)); // blocks per label
  const labels = [];
  for (let block = 0; block < map.blocks; block += step) {
    const label = document.createElement('span');
    label.textContent = `block ${block + 1}`;
    label.style.bottom = `${rowBottom(map, block * map.heads) + map.heads * rowHeight(map) / 2}px`;
    labels.push(label);
  }
  box.replaceChildren(...labels);
}

function describeAges(map, column) {
  const [from, to] = agesOf(map, column);
  return from === to ? `sample −${formatCount(from)} (${formatMilliseconds(from, data.rate)} before the predicted one)`
    : `samples −${formatCount(from)} to −${formatCount(to)} (up to ${formatMilliseconds(to, data.rate)} before the predicted one)`;
}

function describeAttended(map) {
  const { row, column } = attended;
  const levels = levelsOf(map, row);
  const strongest = levels.indexOf(Math.max(...levels));
  const older = data.attention.older[current * mapRows(map) + row];
  const rest = older > 0.005 ? ` ${Math.round(100 * older)} % of the weight is on older samples.` : '';
  const head = map.isMean ? 'mean of the heads' : `head ${row % map.heads + 1}`;
  const weight = isInClip(map, column) ? `weight ${formatWeight(levels[column], map)}` : 'before the clip';
  return `Block ${Math.floor(row / map.heads) + 1}, ${head}: ${describeAges(map, column)}, ${weight}. `
    + `Most: ${describeAges(map, strongest)}, ${formatWeight(levels[strongest], map)}.${rest}`;
}

function selectWeight(row, column) {
  const map = data.attention;
  attended = { row: Math.max(0, Math.min(mapRows(map) - 1, row)), column: Math.max(0, Math.min(map.columns - 1, column)) };
  const [box, cursor] = [find('.weights'), find('.weights .cursor')];
  Object.assign(cursor.style, { right: `${100 * attended.column / map.columns}%`, width: `${100 / map.columns}%`,
    bottom: `${rowBottom(map, attended.row)}px`, height: `${rowHeight(map)}px` });
  const text = describeAttended(map);
  find('.attention .now').textContent = text;
  box.setAttribute('aria-valuenow', attended.row + 1);
  box.setAttribute('aria-valuetext', text);
}

// Prepares the figure for new steps.
function buildAttention() {
  const map = data.attention;
  find('.attention').hidden = !map;
  if (!map) return;
  find('.attention canvas').style.height = `${mapHeight(map)}px`;
  find('.weights').setAttribute('aria-valuemax', mapRows(map));
  find('.attention [data-key="rows"]').textContent = map.isMean ? 'block, mean of its heads' : 'block and head';
  labelBlocks(find('.attention .layers'), map);
  const parts = [`below ${10 ** -map.decades}`, null, '1', map.width > 1 ? `a column is the sum of ${map.width} samples` : ''];
  find('.attention .scale').replaceChildren(...parts.map((text) => {
    const made = document.createElement(text === null ? 'i' : 'span');
    if (text === null) made.style.background = `linear-gradient(90deg, ${VIRIDIS.map((c) => `rgb(${c})`).join()})`;
    else made.textContent = text;
    return made;
  }));
  attended = { row: mapRows(map) - map.heads, column: 0 };
}

function drawAttention() {
  const map = data.attention;
  if (!map) return;
  drawPast(map);
  paintWeights(find('.attention canvas'), map);
  drawAges(map);
  selectWeight(attended.row, attended.column);
}

function pointAttention(event) {
  if (!data?.attention || !event.target.closest?.('.weights')) return;
  const map = data.attention;
  const { right, bottom, width } = find('.weights').getBoundingClientRect();
  const up = bottom - event.clientY;
  const row = Array.from({ length: mapRows(map) }, (_, n) => n).findLast((n) => rowBottom(map, n) <= up) ?? 0;
  selectWeight(row, Math.floor((right - event.clientX) / width * map.columns));
}

// Moves the selection if the map has the focus; returns whether the key is one of the map.
function moveAttention(event) {
  if (!data.attention || !event.target.closest('.weights')) return false;
  const { row, column } = attended;
  const moves = { ArrowUp: [row + 1, column], ArrowDown: [row - 1, column], ArrowLeft: [row, column + 1],
    ArrowRight: [row, column - 1], PageUp: [row, column + 10], PageDown: [row, column - 10], Home: [row, 0], End: [row, Infinity] };
  if (!(event.key in moves)) return false;
  event.preventDefault();
  selectWeight(...moves[event.key]);
  return true;
}
