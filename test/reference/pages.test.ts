import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/commands.ts';
import { createProgram } from '../../src/program.ts';
import { apiSections } from '../../src/reference/api.ts';
import { commandsSections } from '../../src/reference/commands.ts';
import { withSections } from '../../src/reference/markdown.ts';
import { metricsSections } from '../../src/reference/metrics.ts';

const read = (page: string) => readFile(new URL(`../../docs/reference/${page}.md`, import.meta.url), 'utf8');

it.each([
  ['commands', commandsSections],
  ['metrics', metricsSections],
  ['api', apiSections],
] as const)('docs/reference/%s.md is what the code generates', async (name, sections) => {
  const page = await read(name);
  expect(withSections(page, await sections())).toBe(page);
});

it('The help of a metric says what it counts, until or since when, or when it is 1', async () => {
  const rows = [...(await read('metrics')).matchAll(/^\| `pierhead_.*\| (.+?) +\|$/gm)];
  expect(rows.length).toBeGreaterThan(40);
  for (const [, help] of rows)
    expect(help).toMatch(/^(?:Number of|Seconds|Unix time in seconds at which|[01] if) /);
});

describe('--help', () => {
  it.each(COMMANDS)('of $name says in 70 characters what the command does', ({ description }) => {
    expect(description.length).toBeLessThanOrEqual(70);
    expect(description).toMatch(/^[A-Z][a-z]+s [^.]*\.$/);
  });

  it.each(
    COMMANDS.flatMap(({ name, options = [] }) => options.map(([flag, help]) => ({ name, flag, help }))),
  )('of $name says of $flag what it is, and no sentence', ({ help }) => {
    expect(help).not.toMatch(/\.$|^[A-Z][a-z]+ /);
  });

  it('lists the options of the command before those of settings, and ends with examples', () => {
    const text = createProgram(() => undefined)
      .commands.find((command) => command.name() === 'warm')
      ?.helpInformation();
    expect(text).toMatch(/Options:[^]*--allow-empty[^]*Settings:[^]*--data-dir/);
  });
});
