import type { GrowthPoint } from './axis.ts';

/** What is drawn over one axis: amounts from left to right, in decades. */
export interface Panel {
  readonly noun: string;
  readonly points: readonly GrowthPoint[];
}

interface Row {
  readonly title: string;
  readonly pick: (point: GrowthPoint) => number;
}

const ROWS: readonly Row[] = [
  { title: 'requests/s', pick: ({ perSecond }) => perSecond },
  { title: '99th percentile, ms', pick: ({ p99Ms }) => p99Ms },
];

const PANEL = { width: 300, height: 190 } as const;
const MARGIN = { left: 56, right: 16, top: 28, bottom: 44 } as const;
const PLOT = {
  width: PANEL.width - MARGIN.left - MARGIN.right,
  height: PANEL.height - MARGIN.top - MARGIN.bottom,
} as const;
const COLORS = { line: '#0b5fa5', grid: '#d0d7de', text: '#1f2328', paper: '#ffffff' } as const;

/** An SVG image; the same for the same points. */
export function growthPlot(panels: readonly Panel[]): string {
  const [width, height] = [panels.length * PANEL.width, ROWS.length * PANEL.height];
  const drawn = ROWS.flatMap((row, down) =>
    panels.map((panel, right) => place(drawPanel(panel, row), right * PANEL.width, down * PANEL.height)),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    `  font-family="sans-serif" font-size="11" fill="${COLORS.text}">`,
    `<rect width="100%" height="100%" fill="${COLORS.paper}"/>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}

function place(content: string, x: number, y: number): string {
  return `<g transform="translate(${x} ${y})">\n${content}\n</g>`;
}

function drawPanel({ noun, points }: Panel, { title, pick }: Row): string {
  const values = points.map(pick);
  const top = roundedUp(Math.max(...values, 0));
  const logs = points.map(({ amount }) => Math.log10(amount));
  const [first, last] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
  const x = (log: number): string =>
    (MARGIN.left + ((log - first) / Math.max(1, last - first)) * PLOT.width).toFixed(1);
  const y = (value: number): string => (MARGIN.top + (1 - value / top) * PLOT.height).toFixed(1);
  const corners = values.map((value, index) => `${x(logs[index] ?? 0)},${y(value)}`);
  const right = PANEL.width - MARGIN.right;
  return [
    label(MARGIN.left, 16, title, 'start'),
    ...[0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
      `<line x1="${MARGIN.left}" x2="${right}" y1="${y(share * top)}" y2="${y(share * top)}" stroke="${COLORS.grid}"/>`,
      label(MARGIN.left - 6, Number(y(share * top)) + 4, (share * top).toLocaleString('en'), 'end'),
    ]),
    ...Array.from({ length: last - first + 1 }, (_, decade) =>
      label(
        Number(x(first + decade)),
        PANEL.height - 26,
        (10 ** (first + decade)).toLocaleString('en'),
        'middle',
      ),
    ),
    label(MARGIN.left + PLOT.width / 2, PANEL.height - 8, noun, 'middle'),
    `<polyline points="${corners.join(' ')}" fill="none" stroke="${COLORS.line}" stroke-width="2"/>`,
    ...corners.map((corner) => {
      const [cx, cy] = corner.split(',');
      return `<circle cx="${cx}" cy="${cy}" r="3" fill="${COLORS.line}"/>`;
    }),
  ].join('\n');
}

function label(x: number, y: number, text: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${text}</text>`;
}

/** To 1, 2, 4 or 8 times a power of ten, whose quarters are short numbers. */
function roundedUp(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 0.001)));
  return ([1, 2, 4, 8, 10].find((times) => times * unit >= value) ?? 10) * unit;
}
