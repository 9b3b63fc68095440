// Draws the panels of the viewer with uPlot: curves, heat maps, waveforms, intervals and their axes. The page
// loads it before viewer.js, which calls `window.panelDrawing`.
window.panelDrawing = (() => {
  const AXIS_WIDTH = 56; // px, equal in all panels, so that their time axes are aligned
  const RIGHT_PADDING = 8; // px
  const TIME_AXIS_HEIGHT = 26; // px, below the last panel
  const HEIGHTS = { waveform: 100, line: 100, heatmap: 140, intervals: 34 }; // px

  // Values of a panel in its unit, row after row from the lowest; NaN where there is no value.
  function decodeValues(spec) {
    const bytes = Uint8Array.from(atob(spec.data), (c) => c.charCodeAt(0));
    const scale = (spec.high - spec.low) / 65534;
    return Float32Array.from(new Uint16Array(bytes.buffer), (x) => (x === 65535 ? NaN : spec.low + x * scale));
  }

  // Colours of a map, from six hexadecimal digits each, as pixels of a canvas.
  function colourTable(digits) {
    const table = new Uint8ClampedArray(4 * 256).fill(255);
    for (let n = 0; n < 256; n += 1) {
      for (let k = 0; k < 3; k += 1) table[4 * n + k] = parseInt(digits.slice(6 * n + 2 * k, 6 * n + 2 * k + 2), 16);
    }
    return new Uint32Array(table.buffer);
  }

  // Returns a heat map with one pixel per value; `drawHeatmap` scales it to the visible range.
  function paintHeatmap({ spec, values }, digits, rangeDb) {
    const columns = values.length / spec.rows;
    const table = colourTable(digits);
    const [low, high] = spec.limit ? [-spec.limit, spec.limit] : [spec.high - rangeDb, spec.high];
    const pixels = new Uint32Array(values.length);
    for (let row = 0; row < spec.rows; row += 1) {
      const top = (spec.rows - 1 - row) * columns;
      for (let column = 0; column < columns; column += 1) {
        const share = (values[row * columns + column] - low) / (high - low);
        pixels[top + column] = table[Math.max(0, Math.min(255, Math.round(255 * share)))];
      }
    }
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [columns, spec.rows];
    const image = new ImageData(new Uint8ClampedArray(pixels.buffer), columns, spec.rows);
    canvas.getContext('2d').putImageData(image, 0, 0);
    return canvas;
  }

  function drawHeatmap(plot, { spec, image }, [from, to]) {
    const { left, top, width, height } = plot.bbox;
    const scale = (width * spec.step) / (to - from); // px per column
    plot.ctx.imageSmoothingEnabled = false;
    plot.ctx.drawImage(image, left + ((spec.start - from) / spec.step) * scale, top, image.width * scale, height);
  }

  // One minimum and maximum per pixel, or a line through the samples when zoomed.
  function drawWaveform(plot, { spec }, view, audio) {
    if (!audio) return;
    const samples = audio.getChannelData(0);
    const { left, top, width, height } = plot.bbox;
    const [from, to] = view.map((t) => t * audio.sampleRate);
    const y = (v) => top + (height * (spec.high - v)) / (spec.high - spec.low);
    if (to - from <= 2 * width) {
      plot.ctx.beginPath();
      for (let k = Math.max(0, Math.floor(from)); k <= Math.min(samples.length - 1, to + 1); k += 1) {
        plot.ctx.lineTo(left + (width * (k - from)) / (to - from), y(samples[k]));
      }
      plot.ctx.stroke();
      return;
    }
    for (let n = 0; n < width; n += 1) {
      const first = Math.max(0, Math.floor(from + ((to - from) * n) / width));
      const last = Math.min(samples.length, Math.ceil(from + ((to - from) * (n + 1)) / width));
      let [low, high] = [Infinity, -Infinity];
      for (let k = first; k < last; k += 1) {
        if (samples[k] < low) low = samples[k];
        if (samples[k] > high) high = samples[k];
      }
      if (low <= high) plot.ctx.fillRect(left + n, y(high), 1, Math.max(1, y(low) - y(high)));
    }
  }

  // The name of each interval between two bounds, where it fits; values are the bounds.
  function drawIntervals(plot, { spec, values }, [from, to], colours) {
    const { left, top, width, height } = plot.bbox;
    const x = (seconds) => left + (width * (seconds - from)) / (to - from);
    [plot.ctx.textAlign, plot.ctx.textBaseline] = ['center', 'middle'];
    plot.ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    plot.ctx.strokeStyle = colours.grid;
    plot.ctx.fillStyle = colours.text;
    spec.names.forEach((name, n) => {
      const [start, end] = [x(values[n]), x(values[n + 1])];
      if (end < left || start > left + width) return;
      plot.ctx.beginPath();
      plot.ctx.moveTo(end, top);
      plot.ctx.lineTo(end, top + height);
      plot.ctx.stroke();
      if (plot.ctx.measureText(name).width < end - start) plot.ctx.fillText(name, (start + end) / 2, top + height / 2);
    });
  }

  // Shades the improbable places, [start, end] in seconds; each at least 2 px wide.
  function shadeEvents(plot, events, [from, to], colour) {
    const { left, top, width, height } = plot.bbox;
    const x = (seconds) => left + (width * (seconds - from)) / (to - from);
    plot.ctx.save();
    [plot.ctx.fillStyle, plot.ctx.globalAlpha] = [colour, 0.35];
    for (const [start, end] of events) {
      plot.ctx.fillRect(x(start), top, Math.max(2 * devicePixelRatio, x(end) - x(start)), height);
    }
    plot.ctx.restore();
  }

  // Draws what uPlot does not know, clipped to the area inside the axes.
  function drawContent(plot, panel, colours, state) {
    const { left, top, width, height } = plot.bbox;
    plot.ctx.save();
    plot.ctx.beginPath();
    plot.ctx.rect(left, top, width, height);
    plot.ctx.clip();
    [plot.ctx.fillStyle, plot.ctx.strokeStyle] = [colours.lines[0], colours.lines[0]];
    plot.ctx.lineWidth = devicePixelRatio;
    if (['waveform', 'line'].includes(panel.spec.kind)) shadeEvents(plot, state.events(), state.view(), colours.event);
    if (panel.spec.kind === 'heatmap') drawHeatmap(plot, panel, state.view());
    if (panel.spec.kind === 'waveform') drawWaveform(plot, panel, state.view(), state.audio());
    if (panel.spec.kind === 'intervals') drawIntervals(plot, panel, state.view(), colours);
    plot.ctx.restore();
  }

  // Builds the plot of a panel. `colours` has lines, text and grid; `state` returns the visible
  // range and the audio; the last panel has the time axis.
  function makePlot(panel, holder, width, isLast, colours, state) {
    const { spec, values } = panel;
    const isHeatmap = spec.kind === 'heatmap';
    const grid = { show: !isHeatmap, stroke: colours.grid, width: 1 };
    const axis = { stroke: colours.text, font: '12px system-ui, sans-serif', grid, ticks: { show: false } };
    const ticks = spec.ticks.length || spec.kind === 'intervals'
      ? { splits: () => spec.ticks.map(([value]) => value), values: () => spec.ticks.map(([, text]) => text) }
      : { space: 24 };
    const rows = spec.kind === 'line' ? spec.rows : 0;
    const columns = rows ? values.length / rows : 0;
    const curves = Array.from({ length: rows }, (_, row) => (
      Array.from(values.subarray(row * columns, (row + 1) * columns), (v) => (Number.isNaN(v) ? null : v))));
    const times = rows ? Array.from({ length: columns }, (_, k) => spec.start + (k + 0.5) * spec.step) : state.view();
    const options = {
      width,
      height: HEIGHTS[spec.kind] + (isLast ? TIME_AXIS_HEIGHT : 0),
      pxAlign: 0,
      legend: { show: false },
      padding: [6, RIGHT_PADDING, isLast ? 0 : 6, 0],
      scales: {
        x: { time: false, range: () => state.view() },
        y: { range: () => (isHeatmap ? [0, spec.rows] : [spec.low, spec.high]), distr: spec.log ? 3 : 1 },
      },
      axes: [
        { ...axis, size: isLast ? TIME_AXIS_HEIGHT : 0,
          values: (_, splits) => splits.map((t) => (isLast ? `${Number(t.toFixed(6))} s` : '')) },
        { ...axis, size: AXIS_WIDTH, ...ticks },
      ],
      series: [{}, ...(rows ? curves : [0]).map((_, n) => ({
        stroke: colours.lines[n], width: 1, points: { show: false }, paths: rows ? undefined : () => null }))],
      cursor: { show: false, drag: { x: false, y: false } },
      hooks: { drawAxes: [(plot) => drawContent(plot, panel, colours, state)] },
    };
    return new uPlot(options, [times, ...(rows ? curves : [times.map(() => 0)])], holder);
  }

  return { AXIS_WIDTH, RIGHT_PADDING, decodeValues, paintHeatmap, makePlot };
})();
