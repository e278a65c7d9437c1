import { describe, expect, it } from 'vitest';
import { lineRanges, ReachedText, type Range } from './reached-text.mjs';

const PROGRAM = 'file:///program/';
/** As built from a source with one line more at its top. */
const TEXT = [
  'const answer = 1;',
  'function double(value) {',
  '  // if it is a number',
  '  if (value === 0) { return 0; }',
  '  return 2 * value;',
  '}',
].join('\n');
const MAP = { version: 3, sources: ['x.ts'], names: [], mappings: 'AACA;AACA;;AAEA,oBAAoB;AACA;AACA' };
const BUILT = { text: TEXT, map: MAP };

const range = (from: string, to: string, count: number): Range => ({
  startOffset: TEXT.indexOf(from),
  endOffset: TEXT.indexOf(to) + to.length,
  count,
});
const dump = (...functions: readonly Range[][]) => ({
  result: [{ url: `${PROGRAM}x.js`, functions: functions.map((ranges) => ({ ranges })) }],
});
const WHOLE = [range('const', '\n}', 1)];
const NEVER_CALLED = dump(WHOLE, [range('function', '\n}', 0)]);
const CALLED = dump(WHOLE, [range('function', '\n}', 1), range('{ return 0', '0; }', 0)]);
const CALLED_WITH_0 = dump(WHOLE, [range('function', '\n}', 1), range('  return 2', 'value;', 0)]);

describe('the lines that no process has reached', () => {
  it.each([
    ['nothing', [], [2, 3, 5, 6]],
    ['the module alone', [NEVER_CALLED], [3, 5, 6]],
    ['one half of a function', [CALLED], [5]],
    ['both halves, in two processes', [CALLED, NEVER_CALLED, CALLED_WITH_0], []],
  ])('are told by their numbers in the source, if %s has run', (_, dumps, missed) => {
    const reached = new ReachedText(PROGRAM);
    for (const each of dumps) reached.add(each);
    expect(reached.lines('x.js', BUILT)).toEqual({ code: 4, missed });
  });

  it('are those of the program alone', () => {
    const reached = new ReachedText('file:///other/');
    reached.add(CALLED);
    expect(reached.lines('x.js', BUILT).missed).toHaveLength(4);
  });

  it('are written as ranges', () => {
    expect(lineRanges([1, 2, 3, 7, 9, 10])).toBe('1–3 7 9–10');
    expect(lineRanges([])).toBe('');
  });
});
