import type { TestApp } from './app.ts';
import { fetchRaw } from './http.ts';

/** The value of a metric, summed over all series whose labels include `labels` (`'result="stored"'`); 0 if there is none. */
export async function metric(app: Pick<TestApp, 'adminUrl'>, name: string, labels = ''): Promise<number> {
  const { body } = await fetchRaw(`${app.adminUrl}/metrics`);
  const series = body
    .toString()
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => line.includes(labels));
  return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
