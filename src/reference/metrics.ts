import { Metrics, type GaugeSources, type ListedMetric } from '../metrics/metrics.ts';
import { code, plain, table } from './markdown.ts';

/** Groups of metrics by the start of their names. The first group that fits counts. */
const GROUPS: readonly (readonly [title: string, names: RegExp])[] = [
  ['Health', /^pierhead_degraded$/],
  ['Clients', /^pierhead_(?:requests?|response|refused|pulls|tls)_/],
  ['Cache and disk', /^pierhead_(?:room|store|index|coldest|evicted|blob|scrubbed)_/],
  ['Upstreams', /^pierhead_upstream_/],
  ['Pull limit', /^pierhead_pull_budget_/],
  ['Downloads', /^pierhead_fills?_/],
  ['Tags and prefetching', /^pierhead_(?:tags?|read_ahead)_/],
  ['Redis and fleet', /^pierhead_(?:redis|fleet)_/],
];

/** The metrics of Pierhead in Markdown. Metrics of the process are left out: they depend on Node and the system. */
export async function metricsSections(): Promise<Readonly<Record<string, string>>> {
  const own = (await allMetrics().list()).filter(({ name }) => name.startsWith('pierhead_'));
  const left = new Map(own.map((metric) => [metric.name, metric]));
  const sections = GROUPS.map(([title, names]) => {
    const found = [...left.values()].filter(({ name }) => names.test(name));
    for (const { name } of found) left.delete(name);
    const rows = found.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(row);
    return `## ${title}\n\n${table([['metric', 'type', 'labels', 'value'], ...rows])}`;
  });
  if (left.size > 0) throw new Error(`no group for ${[...left.keys()].join(', ')}`);
  return { metrics: sections.join('\n\n') };
}

function row({ name, type, labels, help }: ListedMetric): string[] {
  return [code(name), type, labels.map(code).join(', '), plain(help)];
}

/** Includes metrics that need sources, a certificate or Redis. */
function allMetrics(): Metrics {
  const nothing: GaugeSources = {
    troubles: () => [],
    fills: () => 0,
    queuedFills: () => 0,
    blobs: () => ({ blobs: 0, bytes: 0 }),
    manifests: () => ({ manifests: 0, bytes: 0 }),
    room: () => ({ usedBytes: 0, reservedBytes: 0, limitBytes: 0 }),
    coldestAgeMs: () => undefined,
    indexBytes: () => 0,
    redis: () => 'up',
    watchedTags: () => 0,
    fleetWaiting: () => 0,
  };
  const metrics = new Metrics();
  metrics.read(nothing);
  metrics.upstreams.read(() => []);
  metrics.certificate({ notAfter: new Date(0) });
  return metrics;
}
