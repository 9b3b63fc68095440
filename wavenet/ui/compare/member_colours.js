// Colours and shapes of the members of a comparison, by their place in it. Twelve hues differ; the
// lightness has a contrast of at least 3 to 1 on light and on dark. Joined with scripts that draw.
const memberColour = (n) => `oklch(0.6 0.15 ${(n * 150) % 360})`;

// Outline of a mark around (x, y): circle, square, diamond or triangle, so that colours are not needed.
function markPath(n, x, y, r) {
  const shapes = [
    `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
    `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`,
    `M${x} ${y - 1.3 * r}l${1.3 * r} ${1.3 * r}l${-1.3 * r} ${1.3 * r}l${-1.3 * r} ${-1.3 * r}Z`,
    `M${x} ${y - 1.2 * r}l${1.2 * r} ${2.1 * r}h${-2.4 * r}Z`,
  ];
  return shapes[n % shapes.length];
}
