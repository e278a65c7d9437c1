import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { goalRows, promiseRow, renderGoals, withBefore } from './goals.ts';
import { growthPlot } from './growth/plot.ts';
import type { ScenarioResult } from './measure.ts';
import { renderDetails } from './report.ts';
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
    [{ figure: 'mainCpu', bound: { atMost: 2 } }, true],
  ] satisfies [Goal, boolean][])(
    'is held against the ratio of medians, or the median itself: %j',
    (goal, isMet) => {
      const own = [1, 2, 100].map((value) => ({ value, cpu: 3, mainCpu: 1.5 }));
      const rows = goalRows([result([goal], { pierhead: own, nginx: [{ value: 4, cpu: 1 }] })], {
        subject: 'pierhead',
      });
      expect(rows.map((row) => row.isMet)).toEqual([isMet]);
    },
  );

  it('is not met by what was not measured', () => {
    const goal: Goal = { against: 'nginx', bound: { atMost: 1 } };
    const [row] = goalRows([result([goal], { pierhead: [{ value: 1 }], nginx: [] })], {
      subject: 'pierhead',
    });
    expect(row).toMatchObject({ found: undefined, isMet: false });
  });

  it('stands beside what the state before had, by the same peers', () => {
    const goal: Goal = { against: 'nginx', bound: { atMost: 1 } };
    const samples = { pierhead: [{ value: 3 }], 'v1.0': [{ value: 6 }], nginx: [{ value: 2 }] };
    const rows = goalRows([result([goal], samples)], { subject: 'pierhead', before: 'v1.0' });
    expect(rows).toMatchObject([{ found: '1.50×', before: '3.00×', isMet: false }]);
    expect(renderGoals(rows)).toContain('| wanted | before | found | met |');
  });

  it('takes what the state before had from its own run, and has no column if there is none', () => {
    const row = (figure: number) =>
      promiseRow({ what: 'rate', unit: ' requests/s', bound: { atLeast: 20_000 }, figure });
    expect(withBefore([row(25_000)], [row(10_000)])).toMatchObject([
      { goal: '≥ 20,000 requests/s', found: '25,000 requests/s', before: '10,000 requests/s', isMet: true },
    ]);
    expect(renderGoals(withBefore([row(25_000)], []))).toContain('| wanted | found | met |');
  });
});

describe('the table of a figure', () => {
  it('has columns of those alone who have such a figure', () => {
    const one = result([], {
      pierhead: [{ value: 1, cpu: 2, mainCpu: 1.5 }],
      nginx: [{ value: 1, cpu: 3 }],
    });
    const tables = renderDetails([one], { subject: 'pierhead', peers: ['nginx'] });
    expect(tables).toContain('| scenario | unit | pierhead | nginx |');
    expect(tables).toContain('of the serving thread\n\n| scenario | unit | pierhead |\n');
    expect(tables).not.toContain('hashing thread');
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
