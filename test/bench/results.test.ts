import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { goalRows } from './goals.ts';
import { growthPlot } from './growth/plot.ts';
import type { ScenarioResult } from './measure.ts';
import { ResultsPage } from './results-page.ts';
import type { Goal, Sample } from './scenarios/scenario.ts';
import { percentile } from './statistics.ts';
import { testFolder } from '../support/temp.ts';

async function page(): Promise<{ readonly results: ResultsPage; readonly text: () => Promise<string> }> {
  const root = await testFolder();
  await mkdir(join(root, 'test/bench'), { recursive: true });
  const results = new ResultsPage(root);
  return { results, text: () => readFile(results.path, 'utf8') };
}

describe('the page of results', () => {
  it('keeps what a run did not find anew, what is written by hand, and its order', async () => {
    const { results, text } = await page();
    await results.write(new Map([['growth', 'old growth']]));
    await writeFile(results.path, `${await text()}\nby hand\n`);
    await results.write(new Map([['peers', 'peers']]));
    await results.write(new Map([['growth', 'new growth']]));
    const written = await text();
    expect(written).not.toContain('old growth');
    const places = ['# Results', '\npeers\n', '\nnew growth\n', '\nby hand\n'].map((part) =>
      written.indexOf(part),
    );
    expect(places).not.toContain(-1);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
  });

  it('is the same when the same is written twice', async () => {
    const { results, text } = await page();
    const sections = new Map([['goals', '## Goals\n\n| a |']] as const);
    await results.write(sections);
    const once = await text();
    await results.write(sections);
    expect(await text()).toBe(once);
  });
});

function result(
  goals: readonly Goal[],
  samples: Readonly<Record<string, readonly Sample[]>>,
): ScenarioResult {
  const unused = () => Promise.reject(new Error('not measured here'));
  return {
    scenario: {
      name: 'one',
      title: 'one',
      unit: 's',
      state: 'hot',
      goals,
      prepare: unused,
      measure: unused,
    },
    samples: new Map(Object.entries(samples)),
    failures: [],
  };
}

describe('a goal', () => {
  it.each([
    [{ against: 'nginx', bound: { atMost: 0.5 } }, true],
    [{ against: 'nginx', bound: { atMost: 0.4 } }, false],
    [{ against: 'nginx', bound: { atLeast: 0.6 } }, false],
    [{ against: 'nginx', figure: 'cpu', bound: { atLeast: 3 } }, true],
    [{ bound: { atMost: 2 } }, true],
    [{ figure: 'cpu', bound: { atMost: 2 } }, false],
  ] satisfies [Goal, boolean][])(
    'is held against the ratio of medians, or the median itself: %j',
    (goal, isMet) => {
      const own = [1, 2, 100].map((value) => ({ value, cpu: 3 }));
      const rows = goalRows([result([goal], { pierhead: own, nginx: [{ value: 4, cpu: 1 }] })], 'pierhead');
      expect(rows.map((row) => row.isMet)).toEqual([isMet]);
    },
  );

  it('is not met by what was not measured', () => {
    const goal: Goal = { against: 'nginx', bound: { atMost: 1 } };
    const [row] = goalRows([result([goal], { pierhead: [{ value: 1 }], nginx: [] })], 'pierhead');
    expect(row).toMatchObject({ found: undefined, isMet: false });
  });
});

describe('a percentile', () => {
  it('is a value that so many do not exceed', () => {
    const values = Array.from({ length: 200 }, (_, index) => index + 1);
    expect([0.5, 0.99, 1].map((share) => percentile(values, share))).toEqual([100, 198, 200]);
    expect(percentile([7], 0.01)).toBe(7);
  });
});

describe('the plot of growth', () => {
  it('has every point within its panel, and is the same for the same figures', () => {
    const points = [1, 20, 3000].map((amount) => ({ amount, perSecond: amount * 7, p99Ms: 0.2 }));
    const svg = growthPlot([{ noun: 'things', points }]);
    expect(svg).toBe(growthPlot([{ noun: 'things', points }]));
    const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)];
    expect(circles).toHaveLength(6);
    for (const [, x, y] of circles) {
      expect(Number(x)).toBeGreaterThanOrEqual(56);
      expect(Number(x)).toBeLessThanOrEqual(284);
      expect(Number(y)).toBeGreaterThanOrEqual(28);
      expect(Number(y)).toBeLessThanOrEqual(146);
    }
  });
});
