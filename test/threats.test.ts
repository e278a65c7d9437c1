import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('..', import.meta.url).pathname;
const PAGE = readFileSync(join(ROOT, 'THREATS.md'), 'utf8').replaceAll(/\s+/g, ' ');

/** The tests that the page names: a file in backticks, then names in quotes, of which it must hold one at least. */
const named = PAGE.split('`test/')
  .slice(1)
  .flatMap((rest) => {
    const [file = '', text = ''] = rest.split('`', 2);
    const names = [...text.matchAll(/"([^"]+)"/g)].map(([, name = '']) => name);
    return (names.length === 0 ? [''] : names).map((name) => ({ file: `test/${file}`, name }));
  });

describe('THREATS.md', () => {
  it('names tests', () => {
    expect(named.length).toBeGreaterThan(80);
  });

  it.each(named)('names a test that exists: $file, "$name"', ({ file, name }) => {
    expect(file).toMatch(/\.test\.ts$/);
    expect(existsSync(join(ROOT, file))).toBe(true);
    expect(name).not.toBe('');
    // As a whole, and not as a part of the name of another one.
    const text = readFileSync(join(ROOT, file), 'utf8');
    expect(["'", '`', '"'].some((quote) => text.includes(`${quote}${name}${quote}`))).toBe(true);
  });
});
